"""Views are the same for the same seed, and their framings say where the portrait sits."""

import random
from pathlib import Path

import numpy as np

from latentedit_portraits.render import Framing
from latentedit_portraits.variety import VIEW_SIZE, draw_any_framing, render_view, render_views


def test_a_view_is_the_same_for_the_same_seed_and_another_for_another() -> None:
    framing = Framing(zoom=0.7, shift_x=0.1)
    views = [render_view(framing, random.Random(seed)) for seed in (1, 1, 2)]
    assert views[0].shape == (VIEW_SIZE, VIEW_SIZE, 3)
    assert np.array_equal(views[0], views[1])
    assert not np.array_equal(views[0], views[2])


def test_framing_says_where_the_portrait_sits() -> None:
    """At half the zoom, one sixteenth to the right, the middle of a view twice as large is the view at full zoom.

    Seed 0 draws a plain background and repeats no edges, which would differ between the two.
    """
    near = render_view(Framing(), random.Random(0), size=64)
    far = render_view(Framing(zoom=0.5, shift_x=1 / 16, shift_y=-1 / 8), random.Random(0), size=128)
    assert np.abs(far[16:80, 40:104].astype(int) - near.astype(int)).max() < 16
    assert np.abs(far[32:96, 32:96].astype(int) - near.astype(int)).mean() > 5


def test_half_of_the_framings_are_about_standard_and_the_rest_reach_far() -> None:
    generator = random.Random(5)
    framings = [draw_any_framing(generator) for _ in range(400)]
    near = [item for item in framings if max(abs(item.shift_x), abs(item.shift_y)) <= 0.1 and 0.8 < item.zoom < 1.25]
    assert 0.5 < len(near) / len(framings) < 0.7
    assert min(item.zoom for item in framings) < 0.4
    assert max(item.zoom for item in framings) > 1.6


def test_views_are_kept(tmp_path: Path) -> None:
    path, calls = tmp_path / "new" / "views.npz", []
    first = render_views(path, 24, seed=7, workers=1, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(24, 24)]
    assert first.pixels.shape == (24, VIEW_SIZE, VIEW_SIZE, 3)
    assert 0 < first.framings[:, 3].sum() < 24
    assert not first.framings[first.framings[:, 3] == 0].any()
    again = render_views(path, 24, seed=7, progress=lambda done, total: calls.append((done, total)))
    assert len(calls) == 1
    assert np.array_equal(again.pixels, first.pixels)
    assert np.array_equal(again.framings, first.framings)
