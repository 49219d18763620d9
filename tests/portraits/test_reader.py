from pathlib import Path

import numpy as np
import pytest
import torch

from latentedit.api.naming import ProbabilityReader
from latentedit.models.registry import bundled_folder
from latentedit.testing.contracts.captioner import CaptionerContract
from latentedit_portraits.attributes import VALUES, draw_split
from latentedit_portraits.captions import full_caption
from latentedit_portraits.dataset import UNNAMED, LabelledPortraits, to_pixels
from latentedit_portraits.fitting import FitSettings
from latentedit_portraits.reader import PortraitReader, accuracy, build_reader, fit_reader, split_logits
from latentedit_portraits.render import render_array

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def bundled() -> PortraitReader:
    return PortraitReader.from_folder(bundled_folder("portraits"))


def test_logits_split_into_one_part_an_attribute() -> None:
    parts = split_logits(torch.zeros(2, sum(map(len, VALUES.values()))))
    assert [part.shape[1] for part in parts] == [len(values) for values in VALUES.values()]


def test_accuracy_counts_attribute_by_attribute() -> None:
    truth = [item.replace(accessory="glasses") for item in draw_split("test", 4, 0)]
    found = [truth[0].replace(accessory="none"), *truth[1:]]
    shares = accuracy(found, truth)
    assert shares.pop("accessory") == 0.75
    assert set(shares.values()) == {1.0}


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


def test_batch_and_single_readings_agree(bundled: PortraitReader) -> None:
    pixels = to_pixels(np.stack([render_array(item) for item in draw_split("test", 3, 6)]), CPU)
    assert bundled.attributes(pixels) == [bundled.attributes(pixels[i : i + 1])[0] for i in range(3)]


class TestPortraitReader(CaptionerContract):
    @pytest.fixture
    def captioner(self) -> PortraitReader:
        return PortraitReader.from_folder(bundled_folder("portraits"))


def test_saving_and_loading(tmp_path: Path) -> None:
    network = build_reader(0)
    PortraitReader(network).save(tmp_path)
    loaded = PortraitReader.from_folder(tmp_path)
    pixels = torch.rand(1, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    # weights are stored in half precision: 11 bits
    assert torch.allclose(network(pixels), loaded.network(pixels), atol=2e-3)
    assert not torch.allclose(build_reader(1).eval()(pixels), loaded.network(pixels), atol=2e-3)


def portraits() -> LabelledPortraits:
    attributes = draw_split("train", 24, 0)
    pixels = np.stack([render_array(item) for item in attributes])
    return LabelledPortraits(pixels=pixels, labels=np.array([item.indices() for item in attributes]))


def test_a_few_steps_teach_the_background(tmp_path: Path) -> None:
    source, network = portraits(), build_reader(0)
    settings = FitSettings(steps=40, batch=12, learning_rate=2e-3, warm_up=1, average=0.0)
    fit_reader(network, [source], settings, tmp_path, log=lambda _: None)
    found = PortraitReader(network).attributes(to_pixels(source.pixels, CPU))
    assert accuracy(found, draw_split("train", 24, 0))["background"] > 0.5  # chance: 1/6


def test_unnamed_attributes_teach_nothing(tmp_path: Path) -> None:
    """Without a name in any picture, an attribute's rows of the head stay bit for bit; the others move."""
    source, network = portraits(), build_reader(0)
    unnamed = list(VALUES).index("background")
    source.labels[:, unnamed] = UNNAMED
    source.labels[::2, 0] = UNNAMED
    before = network.head.weight.detach().clone()
    settings = FitSettings(steps=3, batch=12, learning_rate=2e-3, warm_up=1, average=0.0)
    fit_reader(network, [source], settings, tmp_path, log=lambda _: None)
    moved = split_logits((network.head.weight.detach() - before).abs().sum(dim=1)[None])
    assert [bool(part.max() > 0) for part in moved] == [index != unnamed for index in range(len(VALUES))]


def test_sources_take_turns(tmp_path: Path) -> None:
    """The second source has no names at all: after one step it was not used, after two it has changed no weight."""
    named, nameless = portraits(), portraits()
    nameless.labels[:] = UNNAMED
    settings = FitSettings(steps=1, batch=12, learning_rate=2e-3, warm_up=1, average=0.0)
    weights: list[torch.Tensor] = []
    for index, sources in enumerate(([named, nameless], [nameless, named])):
        network = build_reader(0)
        fit_reader(network, sources, settings, tmp_path / str(index), log=lambda _: None)
        weights.append(network.head.weight.detach() - build_reader(0).head.weight.detach())
    assert weights[0].any()
    assert not weights[1].any()


def test_a_second_call_goes_on_where_the_first_ended(tmp_path: Path) -> None:
    settings = FitSettings(steps=2, batch=4, learning_rate=2e-3, warm_up=1)
    networks = build_reader(0), build_reader(0)
    told: list[list[str]] = [[], []]
    for network, lines in zip(networks, told, strict=True):
        fit_reader(network, [portraits()], settings, tmp_path, log=lines.append)
    assert [len(lines) for lines in told] == [1, 0]  # the second call had no step left
    for one, other in zip(*(network.state_dict().values() for network in networks), strict=True):
        assert torch.equal(one, other)
