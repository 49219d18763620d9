"""Seams move to where two images agree, and only where they would be seen."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import maximum_flow

from latentedit.keeping.api import keep
from latentedit.pixels import finding
from latentedit.pixels.seams import hidden, least_cut
from tests.keep.pairs import as_jpeg, scene

SIDE = 200
Y, X = np.mgrid[:SIDE, :SIDE]
AWAY = np.hypot(X - 100, Y - 100).astype(np.float32)  # from the center
EVERYWHERE = np.ones((SIDE, SIDE), dtype=bool)
PLAIN = np.full((SIDE, SIDE, 3), 120, dtype=np.float32)
FLAT = np.zeros((SIDE, SIDE), dtype=np.float32)


def soft(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    return np.minimum(2 * cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 0.7), 1)


def disk(radius: float, levels: float) -> NDArray[np.float32]:
    """An edit of the plain image: a disk that is brighter."""
    return PLAIN + np.float32(levels) * np.less(AWAY, radius)[..., None]


def test_a_seam_through_a_change_moves_around_it() -> None:
    """A mask that ends within the changed disk; the rest of it would be a ring of the original."""
    found = hidden(soft(AWAY < 33), PLAIN, disk(38, 60), EVERYWHERE, FLAT)
    assert found[AWAY < 38].min() > 0.99
    assert found[AWAY > 48].max() == 0


@pytest.mark.parametrize("radius", [38, 42])
def test_a_seam_that_cannot_be_seen_stays(radius: float) -> None:
    """To the last bit, whether it follows the change or lies a little outside."""
    mask = soft(np.less(AWAY, radius))
    assert hidden(mask, PLAIN, disk(38, 60), EVERYWHERE, FLAT) is mask


def test_nothing_stays_nothing() -> None:
    """In an icon, too, where every pixel is near all others."""
    nothing = np.zeros((8, 8), dtype=np.float32)
    assert hidden(nothing, PLAIN[:8, :8], disk(200, 60)[:8, :8], EVERYWHERE[:8, :8], nothing) is nothing


def test_only_the_visible_part_of_a_seam_moves() -> None:
    """The left change is cut off by its mask, the right one is not."""
    left, right = np.hypot(X - 50, Y - 100), np.hypot(X - 150, Y - 100)
    edited = PLAIN + np.float32(60) * ((left < 24) | (right < 24))[..., None]
    mask = soft((left < 20) | (right < 26))
    found = hidden(mask, PLAIN, edited, EVERYWHERE, FLAT)
    assert found[left < 24].min() > 0.99
    assert np.array_equal(found[:, 100:], mask[:, 100:])


def test_what_an_edited_image_does_not_show_stays() -> None:
    shown = X < 100
    mask = soft(AWAY < 33)
    found = hidden(mask, PLAIN, disk(38, 60), shown, FLAT)
    assert found[(X < 90) & (AWAY < 38)].min() > 0.99
    assert np.array_equal(found[X > 102], mask[X > 102])


def test_a_seam_that_would_be_seen_anywhere_stays() -> None:
    """It lies in a change that goes on beyond its reach."""
    mask = soft(AWAY < 33)
    assert np.array_equal(hidden(mask, PLAIN, disk(70, 60), EVERYWHERE, FLAT), mask)


def test_a_seam_moves_only_where_less_of_it_is_seen() -> None:
    """Spots of another texture go on all around, so that a new seam would be seen as well."""
    noise = cv2.GaussianBlur(np.random.default_rng(1).normal(0, 1, (SIDE, SIDE)).astype(np.float32), (0, 0), 3)
    spots = (noise > np.quantile(noise, 0.5)) & (AWAY < 50)
    mask = soft(AWAY < 33)
    edited = disk(33, 60) + np.float32(30) * spots[..., None]
    assert np.array_equal(hidden(mask, PLAIN, edited, EVERYWHERE, FLAT), mask)


@pytest.mark.parametrize("spots", [[(139.5, 100)], [(100, 60.5)]])
def test_a_seam_takes_in_no_damage(spots: list[tuple[float, float]]) -> None:
    """Spots in what faintly goes on from the change."""
    damage = np.any([np.hypot(X - x, Y - y) < 1.3 for x, y in spots], axis=0)
    faint = np.float32(9) * ((AWAY >= 33) & (AWAY < 41))
    edited = np.where(damage[..., None], PLAIN + 50, disk(33, 60) + faint[..., None])
    assert hidden(soft(AWAY < 33), PLAIN, edited, EVERYWHERE, FLAT)[damage].max() < 0.5


def test_differences_that_are_everywhere_move_no_seam() -> None:
    """Other grain all around a change."""
    noise = np.random.default_rng(0).normal(0, 25, PLAIN.shape).astype(np.float32)
    grain = np.where(AWAY[..., None] < 38, 0, cv2.GaussianBlur(noise, (0, 0), 1.2))
    mask = soft(AWAY < 38)
    assert np.array_equal(hidden(mask, PLAIN, disk(38, 60) + grain, EVERYWHERE, FLAT), mask)


def test_a_seam_moves_only_near_what_is_seen() -> None:
    """A nick in a mask."""
    mask = soft((AWAY < 38) & ~((np.abs(Y - 100) < 12) & (X < 100) & (AWAY > 33)))
    found = hidden(mask, PLAIN, disk(38, 60), EVERYWHERE, FLAT)
    assert found[(X < 100) & (AWAY < 38)].min() > 0.99
    assert np.array_equal(found[:, 110:], mask[:, 110:])


def test_a_seam_keeps_as_much_of_the_original_as_it_can() -> None:
    """Farther away, the two images agree as well; a little less agreement costs less than another pixel."""
    nearer = PLAIN + np.clip(48 - AWAY, 0, 2)[..., None] + disk(38, 60) - PLAIN
    found = hidden(soft(AWAY < 33), PLAIN, nearer, EVERYWHERE, FLAT)
    assert found[AWAY < 38].min() > 0.99
    assert found[AWAY > 43].max() == 0


def test_a_seam_fades_where_the_images_agree() -> None:
    found = hidden(soft(AWAY < 33), PLAIN, disk(38, 60), EVERYWHERE, FLAT)
    steps, sharp = (float(np.abs(np.diff(one, axis=1)).max()) for one in (found, soft(AWAY < 40)))
    assert steps < 0.8 * sharp


def test_detail_hides_a_seam() -> None:
    mask, edited = soft(AWAY < 33), disk(38, 12)
    assert hidden(mask, PLAIN, edited, EVERYWHERE, FLAT) is not mask
    assert hidden(mask, PLAIN, edited, EVERYWHERE, np.full_like(FLAT, 30)) is mask


@pytest.mark.parametrize("seed", range(3))
def test_a_cut_costs_least(seed: int) -> None:
    """The maximum flow of another library has the same cost: the squares and 1 for each pair of divided neighbors."""
    rng = np.random.default_rng(seed)
    cost = rng.integers(0, 30, (24, 30)).astype(np.float32)
    sure, free = (np.zeros(cost.shape, dtype=bool) for _ in range(2))
    sure[9:14, 10:17] = free[3:21, 4:25] = True
    free &= ~sure
    found = least_cut(cost, sure, free)
    assert found[sure].all()
    assert not found[~(sure | free)].any()
    pairs = [(np.s_[:, :-1], np.s_[:, 1:]), (np.s_[:-1], np.s_[1:])]
    at = np.arange(cost.size).reshape(cost.shape)
    prices = [(cost[a] ** 2 + cost[b] ** 2 + 1).ravel() for a, b in pairs]
    paid = sum(float(price[(found[a] != found[b]).ravel()].sum()) for price, (a, b) in zip(prices, pairs, strict=True))
    ends = np.concatenate([at[a].ravel() for a, _ in pairs]), np.concatenate([at[b].ravel() for _, b in pairs])
    source, sink, fixed = cost.size, cost.size + 1, np.concatenate([at[sure], at[~(sure | free)]])
    outer = sure.ravel()[fixed]
    rows = np.concatenate([*ends, np.where(outer, source, fixed)])
    columns = np.concatenate([*ends[::-1], np.where(outer, fixed, sink)])
    capacities = np.concatenate([*prices, *prices, np.full(len(fixed), 10**7)]).astype(np.int32)
    graph = coo_matrix((capacities, (rows, columns)), shape=(cost.size + 2,) * 2).tocsr()
    assert paid == maximum_flow(graph, source, sink).flow_value


def in_a_black_cloth() -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.bool_]]:
    """Strands painted on both sides of a cloth, by an editor whose black cuts off what the cloth is; and its strip."""
    side, black = 320, 16
    y, x = np.mgrid[:side, :side]
    original = scene(side).clip(black + 2, 235).astype(np.float32)
    cloth = (np.abs(x - 160) < 70) & (np.abs(y - 160) < 60)
    original[cloth] = 5
    edited, strip = original.copy(), cloth & (np.abs(x - 160) < 14)
    edited[cloth & ~strip & ((x + 3 * np.sin(y / 6)).astype(int) % 6 < 2)] = (110, 90, 80)
    return original.astype(np.uint8), as_jpeg((edited - black) * 255 / (255 - black), 95), strip


@pytest.mark.slow
def test_what_the_edited_image_cuts_off_ends_in_no_step() -> None:
    """Between the strands its black is shown, in the original's colors: 16 next to 5."""
    original, edited, strip = in_a_black_cloth()
    result = keep(Image.fromarray(original), Image.fromarray(edited))
    mask, pixels = np.asarray(result.mask), np.asarray(result.image)
    untouched = cv2.morphologyEx((mask < 128).astype(np.uint8), cv2.MORPH_OPEN, np.ones((9, 9)))
    next_to_it = (cv2.dilate(untouched & strip, np.ones((9, 9))) > 0) & (mask > 250) & (pixels.max(axis=2) < 40)
    assert next_to_it.sum() > 50
    assert np.median(pixels[next_to_it]) < 9


@pytest.mark.slow
def test_a_seam_is_looked_for_in_the_colors_of_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[NDArray[np.float32]] = []
    monkeypatch.setattr(finding, "hidden", lambda mask, *images: (given.extend(images[:2]), mask)[1])
    original, edited, strip = in_a_black_cloth()
    result = keep(Image.fromarray(original), Image.fromarray(edited))
    shown = result.analysis.blended(np.ones(original.shape[:2], dtype=np.float32), result.detected)
    for image, expected in zip(given[-2:], (original, shown), strict=True):
        assert np.abs(image[strip] - expected[strip]).mean() < 1
