"""The sheet shows every direction's pictures, and is the same for the same discovery."""

import numpy as np
import pytest

from latentedit.api.discovery import SCALES, Discovery, discover
from latentedit.api.sheets.discovery_sheet import draw_discovery
from latentedit.latents.captions.base import to_images
from tests.api.discoveries import known_basis, read_surely
from tests.editors.colours import ColourBackbone


@pytest.fixture
def discovery(monkeypatch: pytest.MonkeyPatch) -> Discovery:
    model = ColourBackbone()
    read_surely(monkeypatch, model)
    return discover(known_basis(model))


@pytest.mark.slow
def test_a_row_a_direction_and_a_column_a_scale(discovery: Discovery) -> None:
    """Somewhere in its column stands every picture: the colours of its upper and lower half, whatever enlarged it."""
    sheet = np.asarray(draw_discovery(discovery, title="me.png"), dtype=np.float64)
    for index, one in enumerate(discovery.directions):
        for column, scale in enumerate(sorted((*SCALES, 0.0))):
            pixels = discovery.basis.latent.frames[0].pixels if scale == 0 else one.probe.pictures[SCALES.index(scale)]
            halves = [half.mean((0, 1)) for half in np.array_split(np.asarray(to_images(pixels[None])[0]), 2)]
            left = 32 + 288 + column * 172
            lines = sheet[:, left : left + 160].mean(1)
            sums = np.concatenate([np.zeros((1, 3)), lines.cumsum(0)])
            means = (sums[80:] - sums[:-80]) / 80
            apart = np.abs(means[:-80] - halves[0]) + np.abs(means[80:] - halves[1])
            assert apart.max(1).min() < 8.0, (index, scale)  # enlarging overshoots edges; scales differ by far more


@pytest.mark.slow
def test_more_directions_make_it_longer_not_wider(discovery: Discovery) -> None:
    from dataclasses import replace

    one = replace(discovery, directions=discovery.directions[:1])
    wide, narrow = draw_discovery(discovery, title="t"), draw_discovery(one, title="t")
    assert wide.width == narrow.width
    assert wide.height > narrow.height + 160
