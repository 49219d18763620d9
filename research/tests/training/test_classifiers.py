"""Training of classifier and framer, measures of agreement, and the framer's training views."""

import math
import random
from pathlib import Path

import numpy as np
import pytest
import torch

from latentedit_drawn.render import Framing, render_array
from latentedit_portraits.attributes import draw_split
from latentedit_portraits.classifiers import to_pixels
from latentedit_portraits.framer import VIEW_SIZE, PortraitFramer
from latentedit_portraits.reader import PortraitReader
from latentedit_scenes.attributes import NONE
from latentedit_scenes.attributes import draw_split as draw_scenes
from research.tests.training.runs import trainer_in
from research.training.classifiers import fit_framer, fit_reader
from research.training.loop import FitSettings
from research.training.quality import agreement
from research.training.views import draw_wide_framing, framings_of, render_view, render_views


def test_agreement_is_a_share_per_attribute() -> None:
    truth = [item.replace(accessory="glasses") for item in draw_split("test", 4, 0)]
    found = [truth[0].replace(accessory="none"), *truth[1:]]
    shares = agreement(found, truth)
    assert shares.pop("accessory") == 0.75
    assert shares.pop("mean") == round(11.75 / 12, 4)
    assert set(shares.values()) == {1.0}


def test_agreement_separates_counting_places_and_binding() -> None:
    expected = [next(one for one in draw_scenes("train", 60, 0) if one.places() == ["left", "right"])] * 4
    expected[0] = expected[0].replace(left_color="red", right_color="blue")
    exchanged = expected[0].replace(left_color="blue", right_color="red")
    moved = expected[1].moved("right", "middle")
    fewer = expected[2].replace(left_shape=NONE)
    found = agreement([exchanged, moved, fewer, expected[3]], expected)
    assert found["counting"] == 3 / 4
    assert found["places"] == 2 / 4
    assert found["binding"] == (0 + 1 + 1 + 2) / 8
    assert found["left_color"] == 2 / 4
    assert found["camera"] == 1


@pytest.mark.nightly
def test_a_classifier_learns_backgrounds_in_a_few_steps(tmp_path: Path) -> None:
    attributes, network = draw_split("train", 24, 0), PortraitReader.build(0)
    pixels = np.stack([render_array(item) for item in attributes])
    settings = FitSettings(steps=20, batch_size=12, learning_rate=2e-3, warmup_steps=1, ema_decay=0.0)
    fit_reader(network, [pixels], attributes, settings, trainer_in(tmp_path))
    found = PortraitReader(network).attributes(to_pixels(pixels))
    assert agreement(found, attributes)["background"] > 0.5  # chance: 1/6


@pytest.mark.nightly
def test_the_framer_overfits_a_few_views(tmp_path: Path) -> None:
    generator = random.Random("views")
    framings = [draw_wide_framing(generator) for _ in range(12)]
    rows = [(item.shift_x, item.shift_y, math.log(item.zoom), 1.0) for item in framings]
    pixels = np.stack([render_view(item, generator) for item in framings])
    truth, network = np.asarray(rows, dtype=np.float32), PortraitFramer.build(0)
    losses: list[str] = []
    settings = FitSettings(steps=80, batch_size=16, learning_rate=2e-3, warmup_steps=5, ema_decay=0.9)
    assert fit_framer(network, pixels, truth, settings, trainer_in(tmp_path, log=losses.append)) > 0
    assert "80/80" in losses[-1]
    with torch.no_grad():
        found = network(torch.from_numpy(pixels).permute(0, 3, 1, 2) / 127.5 - 1)
    expected = torch.from_numpy(truth)
    spread = (expected[:, 2] - expected[:, 2].mean()).abs().mean()
    assert (found[:, 2] - expected[:, 2]).abs().mean() < 0.4 * spread
    assert (found[:, 3] > 0).all()


def test_a_view_depends_only_on_its_seed() -> None:
    framing = Framing(zoom=0.7, shift_x=0.1)
    views = [render_view(framing, random.Random(seed)) for seed in (1, 1, 2)]
    assert views[0].shape == (VIEW_SIZE, VIEW_SIZE, 3)
    assert np.array_equal(views[0], views[1])
    assert not np.array_equal(views[0], views[2])


def test_framing_shifts_and_scales_the_portrait() -> None:
    """At half the zoom, one sixteenth to the right, the middle of a view twice as large is the view at full zoom.

    Seed 0 draws a plain background and repeats no edges, which would differ between the two.
    """
    near = render_view(Framing(), random.Random(0), size=64)
    far = render_view(Framing(zoom=0.5, shift_x=1 / 16, shift_y=-1 / 8), random.Random(0), size=128)
    assert np.abs(far[16:80, 40:104].astype(int) - near.astype(int)).max() < 16
    assert np.abs(far[32:96, 32:96].astype(int) - near.astype(int)).mean() > 5


def test_one_view_in_six_shows_no_portrait() -> None:
    framings = framings_of(300)
    assert 0.75 < framings[:, 3].mean() < 0.9
    assert not framings[framings[:, 3] == 0].any()
    first, second = (render_views(0, range(start, 3), VIEW_SIZE) for start in (0, 1))
    assert np.array_equal(first[1], second[0])
    assert first[0].shape == (VIEW_SIZE, VIEW_SIZE, 3)
