"""The strip of paths: rows that begin and end with the pictures that were given, and the numbers of each."""

import json

import numpy as np
import pytest
import torch

from latentedit.api.outputs import plain
from latentedit.api.sheets.path_strip import draw_paths, path_pictures, paths_json
from latentedit.directions.latent_path import PathsBetween, paths_between
from latentedit.latents.captions.base import to_images
from latentedit.latents.pair import encode_pair
from tests.editors.colours import ColourBackbone
from tests.editors.edits import grey, noisy

FRAMES = 4


@pytest.fixture(scope="module")
def between() -> PathsBetween:
    model = ColourBackbone()
    pair = encode_pair(model, [noisy(), grey()], ["red", "grey"])
    return paths_between(pair, methods=["lerp", "slerp"], frames=FRAMES, level=0.6, steps=5, rank=2, site="clean")


@pytest.mark.nightly
def test_the_first_and_the_last_picture_are_those_that_were_given(between: PathsBetween) -> None:
    for path in between.paths:
        pictures = path_pictures(between, path)
        assert torch.equal(pictures[0], between.latent.frames[0].pixels)
        assert torch.equal(pictures[-1], between.latent.frames[1].pixels)
        assert torch.equal(pictures[1:-1], path.z[1:-1].clamp(-1, 1))  # this model's latents are pictures
    reds = path_pictures(between, between.paths[0])[:, 0].mean((1, 2))
    assert bool((reds.diff() < 0).all()), "from red to grey"


@pytest.mark.slow
def test_every_picture_stands_in_its_place(between: PathsBetween) -> None:
    """By its mean colour, somewhere in its column of its row."""
    sheet = np.asarray(draw_paths(between, title="a -> b"), dtype=np.float64)
    sums = np.pad(sheet.cumsum(0).cumsum(1), ((1, 0), (1, 0), (0, 0)))
    tops: list[int] = []
    for path in between.paths:
        found: set[int] = set()
        for column, image in enumerate(to_images(path_pictures(between, path))):
            left = 32 + 288 + column * 172
            boxes = sums[160:, left + 160] - sums[:-160, left + 160] - sums[160:, left] + sums[:-160, left]
            apart = np.abs(boxes / 160**2 - np.asarray(image).mean((0, 1))).max(1)
            assert apart.min() < 3, (path.method, column)
            found.add(int(apart[len(sheet) // 2 * len(tops) :].argmin()) + len(sheet) // 2 * len(tops))
        tops.append(max(found))
    assert tops[1] - tops[0] > 160


@pytest.mark.nightly
def test_many_frames_are_smaller(between: PathsBetween) -> None:
    long = paths_between(between.latent, methods=["lerp"], frames=14, level=0.6, steps=3, rank=1, site="clean")
    sheet = draw_paths(long, title="long")
    assert sheet.width <= 2 * 32 + 288 + 1192
    assert sheet.height < draw_paths(between, title="short").height


def test_what_was_measured_in_json(between: PathsBetween) -> None:
    told = json.loads(json.dumps(plain(paths_json(between)), allow_nan=False))
    assert (told["captions"], told["frames"], told["rank"], told["site"]) == (["red", "grey"], FRAMES, 2, "clean")
    assert [path["method"] for path in told["paths"]] == ["lerp", "slerp"]
    for path, one in zip(told["paths"], between.paths, strict=True):
        assert path["feature_length"] == pytest.approx(sum(path["feature_lengths"]))
        assert path["semantic_length"] == pytest.approx(sum(path["curvedness"]))
        assert len(path["curvedness"]) == len(path["norms"]) - 1 == FRAMES - 1
        assert path["norms"][0] == pytest.approx(float(one.points[0].norm()))
    assert told["random"]["semantic_length"] == pytest.approx(3 * told["random"]["a_segment"]["mean"])
    assert told["evaluations"] == between.evaluations
