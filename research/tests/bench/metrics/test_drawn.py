"""Edges and opacity of edits that are cross-fades, faint in one part, or fringed."""

import pytest
import torch

from latentedit_bench.metrics.drawn import edge_error, opacity

SOURCE = torch.rand(1, 3, 32, 48, generator=torch.Generator().manual_seed(0), dtype=torch.float64) - 0.5
MASK = torch.zeros(1, 1, 32, 48, dtype=torch.bool)
MASK[..., 4:12, 4:14] = True
MASK[..., 18:28, 26:40] = True
MASK[..., 30, 2] = True  # a speck, which does not count
TRUTH = torch.where(MASK, torch.tensor([0.4, -0.4, 0.2], dtype=torch.float64)[None, :, None, None], SOURCE)


@pytest.mark.parametrize("strength", [0.0, 0.3, 1.0, 1.5])
def test_a_cross_fade_has_its_strength_as_opacity_and_misses_the_rest_of_each_edge(strength: float) -> None:
    edited = SOURCE + strength * (TRUTH - SOURCE)
    assert float(opacity(edited, SOURCE, TRUTH, MASK)) == pytest.approx(strength)
    assert float(edge_error(edited, SOURCE, TRUTH)) == pytest.approx((1 - strength) ** 2)


def test_the_faintest_part_counts_and_specks_do_not() -> None:
    factor = torch.ones_like(MASK, dtype=torch.float64)
    factor[..., :16, :16] = 0.4
    factor[..., 30, 2] = 0
    assert float(opacity(SOURCE + factor * (TRUTH - SOURCE), SOURCE, TRUTH, MASK)) == pytest.approx(0.4)


def test_a_fringe_is_seen_at_the_edges_and_a_far_change_is_not() -> None:
    fringed, far = TRUTH.clone(), TRUTH.clone()
    fringed[..., 4:12, 14] += 0.3
    far[..., 22:26, 4:8] += 0.3
    assert float(edge_error(fringed, SOURCE, TRUTH)) > 0.01
    for same_edges in (far, TRUTH + 0.1):
        assert float(edge_error(same_edges, SOURCE, TRUTH)) == pytest.approx(0, abs=1e-12)


def test_without_a_wanted_change_neither_has_a_number() -> None:
    assert edge_error(TRUTH, SOURCE, SOURCE).isnan().all()
    assert opacity(TRUTH, SOURCE, SOURCE, MASK).isnan().all()
