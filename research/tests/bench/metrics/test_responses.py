"""Scores without right answers: edits whose transfer is known."""

import math

import pytest
import torch
from jaxtyping import Float
from torch import Tensor

from latentedit_bench.metrics.responses import response_scores


def _responses(count: int = 4, *, images: int = 3) -> Float[Tensor, "k b 3 h w"]:
    """Orthogonal responses of different lengths, each image's own."""
    drawn = torch.randn(images, 3 * 4 * 5, count, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    basis = torch.linalg.qr(drawn).Q * torch.tensor([1.0, 2.0, 0.5, 3.0], dtype=torch.float64)[:count]
    return basis.permute(2, 0, 1).reshape(count, images, 3, 4, 5)


def test_the_response_itself_is_a_perfect_edit_and_no_edit_scores_nothing() -> None:
    u = _responses()
    for own in range(4):
        found = response_scores(u[own], u, own)
        # float64: products of 60 terms, inverted at a condition number of 36
        assert torch.allclose(found.transfer, torch.eye(4, dtype=torch.float64)[own].expand(3, 4), atol=1e-12)
        for score in (found.effectiveness, found.decomposability, found.disentanglement):
            assert score.tolist() == pytest.approx([1] * 3, abs=1e-12)
        none = response_scores(0 * u[own], u, own)
        assert none.decomposability.isnan().all()
        assert torch.cat([none.transfer.flatten(), none.effectiveness, none.disentanglement]).abs().max() == 0


def test_an_edit_that_changes_everything_alike_leaks_into_every_attribute() -> None:
    """Each of k responses of one length has 1 / k of the energy."""
    u = _responses()
    u = u / u.flatten(2).norm(dim=2)[..., None, None, None]
    found = response_scores(u.sum(0), u, 2)
    assert torch.allclose(found.transfer, torch.ones(3, 4, dtype=torch.float64), atol=1e-12)
    assert found.decomposability.tolist() == pytest.approx([0.5] * 3, abs=1e-12)
    assert found.disentanglement.tolist() == pytest.approx([2 * 0.5 / 1.5] * 3, abs=1e-12)


def test_a_known_mixture_has_its_factors_and_what_no_response_describes_is_leakage() -> None:
    every = _responses()
    u, foreign = every[:3], every[3]  # lengths 1, 2, .5 and 3
    found = response_scores(0.8 * u[0] + 0.3 * u[1] + 0.5 * foreign, u, 0)
    expected = torch.tensor([0.8, 0.3, 0.0], dtype=torch.float64).expand(3, 3)
    assert torch.allclose(found.transfer, expected, atol=1e-12)
    assert found.decomposability.tolist() == pytest.approx([0.8 / math.hypot(0.8, 0.6, 1.5)] * 3, abs=1e-12)


def test_overlapping_responses_are_separated_and_equal_ones_share() -> None:
    """The second contains the first: an edit of the second is not an edit of the first."""
    u = _responses(2)
    u[1] = u[1] + u[0]
    assert torch.allclose(response_scores(u[1], u, 1).transfer, torch.tensor([0.0, 1.0]).double(), atol=1e-12)
    equal = response_scores(u[0], torch.stack([u[0], u[0], u[1]]), 0)
    assert torch.allclose(equal.transfer, torch.tensor([0.5, 0.5, 0.0]).double(), atol=1e-9)
    silent = response_scores(u[0], torch.stack([u[0], 0 * u[0]]), 0)
    assert torch.allclose(silent.transfer, torch.tensor([1.0, 0.0]).double(), atol=1e-12)


@pytest.mark.parametrize(("share", "effectiveness"), [(-1.0, 0.0), (0.5, 0.75), (1.0, 1.0), (1.5, 0.75), (3.0, 0.0)])
def test_effectiveness_falls_to_both_sides_of_the_response(share: float, effectiveness: float) -> None:
    """It falls like the one against right answers: ``1 - (1 - share)^2`` without leakage."""
    u = _responses()
    found = response_scores(share * u[1], u, 1)
    assert found.effectiveness.tolist() == pytest.approx([effectiveness] * 3, abs=1e-12)
    assert found.decomposability.tolist() == pytest.approx([1] * 3, abs=1e-12)
    assert found.disentanglement.tolist() == pytest.approx([2 * effectiveness / (1 + effectiveness)] * 3, abs=1e-12)
