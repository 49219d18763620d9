from pathlib import Path

import numpy as np
import pytest
import torch

from latentedit.backbones.registry import bundled_folder
from latentedit.portraits.attributes import VALUES, draw_split
from latentedit.portraits.captions import full_caption
from latentedit.portraits.dataset import to_pixels
from latentedit.portraits.fitting import FitSettings
from latentedit.portraits.reader import PortraitReader, ReaderNetwork, accuracy, fit_reader, split_logits
from latentedit.portraits.render import render_array

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


def test_batch_and_single_readings_agree(bundled: PortraitReader) -> None:
    pixels = to_pixels(np.stack([render_array(item) for item in draw_split("test", 3, 6)]), CPU)
    assert bundled.attributes(pixels) == [bundled.attributes(pixels[i : i + 1])[0] for i in range(3)]


def test_saving_and_loading(tmp_path: Path) -> None:
    with torch.random.fork_rng(devices=[]):
        network = ReaderNetwork()
    reader = PortraitReader(network)
    reader.save(tmp_path)
    loaded = PortraitReader.from_folder(tmp_path)
    pixels = torch.zeros(1, 3, 128, 128)
    # weights are stored in half precision: 11 bits
    assert torch.allclose(network(pixels), loaded.network(pixels), atol=2e-2)


def test_a_few_steps_teach_the_background(tmp_path: Path) -> None:
    attributes = draw_split("train", 24, 0)
    pixels = np.stack([render_array(item) for item in attributes])
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        network = ReaderNetwork()
    settings = FitSettings(steps=40, batch=12, learning_rate=2e-3, warm_up=1, average=0.0)
    fit_reader(network, [(pixels, attributes)], settings, tmp_path, log=lambda _: None)
    found = PortraitReader(network).attributes(to_pixels(pixels, CPU))
    assert accuracy(found, attributes)["background"] > 0.5  # chance: 1/6
