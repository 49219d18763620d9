from pathlib import Path

import numpy as np
import pytest
import torch

from latentedit.api.naming import ProbabilityReader
from latentedit.models.registry import bundled_folder
from latentedit.testing.contracts.captioner import CaptionerContract
from latentedit_portraits.attributes import draw_split
from latentedit_portraits.captions import full_caption
from latentedit_portraits.dataset import to_pixels
from latentedit_portraits.fitting import FitSettings
from latentedit_portraits.reader import PortraitReader, accuracy, build_reader, fit_reader
from latentedit_portraits.render import render_array
from tests.portraits.runs import run_in

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def bundled() -> PortraitReader:
    return PortraitReader.from_folder(bundled_folder("portraits"))


def test_accuracy_counts_attribute_by_attribute() -> None:
    truth = [item.replace(accessory="glasses") for item in draw_split("test", 4, 0)]
    found = [truth[0].replace(accessory="none"), *truth[1:]]
    shares = accuracy(found, truth)
    assert shares.pop("accessory") == 0.75
    assert set(shares.values()) == {1.0}


@pytest.mark.nightly
def test_the_bundled_reader_reads_portraits_it_never_saw(bundled: PortraitReader) -> None:
    truth = draw_split("test", 60, 5)
    pixels = to_pixels(np.stack([render_array(item) for item in truth]), CPU)
    shares = accuracy(bundled.attributes(pixels), truth)
    assert np.mean(list(shares.values())) >= 0.98
    assert bundled.caption(pixels[:1]) == [full_caption(truth[0])]
    assert bundled.read(pixels[:1])[0]["hair"] == truth[0].hair


def test_probabilities_are_those_of_what_is_read(bundled: PortraitReader) -> None:
    assert isinstance(bundled, ProbabilityReader)
    pixels = to_pixels(np.stack([render_array(item) for item in draw_split("test", 5, 6)]), CPU)
    read, found = bundled.read(pixels), bundled.probabilities(pixels)
    assert list(found) == list(bundled.values)
    for name, rows in found.items():
        assert rows.shape == (5, len(bundled.values[name]))
        assert torch.allclose(rows.sum(1), torch.ones(5))
        assert [bundled.values[name][int(index)] for index in rows.argmax(1)] == [row[name] for row in read]


class TestPortraitReader(CaptionerContract):
    @pytest.fixture
    def captioner(self) -> PortraitReader:
        return PortraitReader.from_folder(bundled_folder("portraits"))


@pytest.mark.nightly
def test_a_few_steps_teach_the_background(tmp_path: Path) -> None:
    attributes, network = draw_split("train", 24, 0), build_reader(0)
    pixels = np.stack([render_array(item) for item in attributes])
    settings = FitSettings(steps=20, batch=12, learning_rate=2e-3, warm_up=1, average=0.0)
    fit_reader(network, [pixels], attributes, settings, run_in(tmp_path))
    found = PortraitReader(network).attributes(to_pixels(pixels, CPU))
    assert accuracy(found, attributes)["background"] > 0.5  # chance: 1/6


@pytest.mark.nightly
def test_sources_take_turns(tmp_path: Path) -> None:
    """A source of other pictures changes what is learnt from the second step on."""
    attributes, networks = draw_split("train", 6, 0), [build_reader(0) for _ in range(4)]
    pixels = np.stack([render_array(item) for item in attributes])
    for index, network in enumerate(networks):
        settings = FitSettings(steps=1 + index % 2, batch=2, learning_rate=2e-3, warm_up=1, average=0.0)
        second = pixels if index < 2 else pixels[:3] // 2
        fit_reader(network, [pixels, second], attributes, settings, run_in(tmp_path / str(index)))
    same = [torch.equal(networks[i].head.weight, networks[i + 2].head.weight) for i in (0, 1)]
    assert same == [True, False]
