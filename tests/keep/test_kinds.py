"""What happened in a change whose mask is known."""

import numpy as np
import pytest

from latentedit_keep.base.warp import smoothed
from latentedit_keep.kinds import kinds
from tests.keep.pairs import scene

SIDE = 96
Y, X = np.mgrid[:SIDE, :SIDE]
DISC = np.hypot(X - 48, Y - 50) < 20
PLAIN = np.full((SIDE, SIDE, 3), 128, dtype=np.float32)
TEXTURED = scene(SIDE).astype(np.float32)
RED = np.array([220, 60, 40], dtype=np.float32)


def painted(image: np.ndarray, color: np.ndarray = RED) -> np.ndarray:
    return np.where(DISC[..., None], color, image).astype(np.float32)


def kind_of(before: np.ndarray, after: np.ndarray, mask: np.ndarray = DISC) -> str:
    (kind,) = kinds(before, after, mask.astype(np.float32), mask.astype(np.int32), 1)
    return kind


FAINT = 0.5 * smoothed(np.random.default_rng(0).normal(0, 12, TEXTURED.shape).astype(np.float32), 1.0)


@pytest.mark.parametrize(
    ("before", "after", "kind"),
    [
        (PLAIN, painted(PLAIN), "added"),
        (painted(PLAIN), PLAIN, "removed"),
        (TEXTURED, painted(TEXTURED, 0.5 * TEXTURED + 60), "recolored"),
        (TEXTURED, painted(TEXTURED, 1.3 * TEXTURED - 20 + FAINT), "recolored"),
        (PLAIN + FAINT, painted(PLAIN + FAINT[::-1]), "added"),
        (painted(PLAIN, TEXTURED), painted(PLAIN, TEXTURED[::-1]), "unknown"),
        (painted(PLAIN, TEXTURED), painted(PLAIN), "unknown"),
    ],
    ids=["added", "removed", "darker", "other colors", "in noise", "same outline", "replaced"],
)
def test_a_known_change_has_its_kind(before: np.ndarray, after: np.ndarray, kind: str) -> None:
    assert kind_of(before, after) == kind
    back = {"added": "removed", "removed": "added"}
    assert kind_of(after, before) == back.get(kind, kind)
    large = [np.kron(one, np.ones((5, 5, 1), dtype=np.float32)) for one in (before, after)]
    assert kind_of(large[0], large[1], np.kron(DISC, np.ones((5, 5), dtype=bool))) == kind


def test_each_change_has_its_own_kind_and_one_without_pixels_none() -> None:
    numbers, mask = np.zeros((SIDE, SIDE), dtype=np.int32), np.zeros((SIDE, SIDE), dtype=np.float32)
    before, after = PLAIN.copy(), PLAIN.copy()
    for number, (top, left) in enumerate([(4, 6), (10, 60), (60, 20)], start=1):
        place = np.s_[top : top + 22, left : left + 22]
        numbers[place], mask[place] = number, 1
        (after if number % 2 else before)[place] = RED
    numbers[80:90, 80:90], mask[80:90, 80:90] = 4, 0.4
    assert kinds(before, after, mask, numbers, 4) == ("added", "removed", "added", "unknown")


def test_a_line_is_a_change_of_its_own() -> None:
    """It has no inside."""
    line = (np.abs(X - Y) < 2) & (X > 20) & (X < 70)
    assert kind_of(PLAIN, np.where(line[..., None], RED, PLAIN).astype(np.float32), line) == "added"
