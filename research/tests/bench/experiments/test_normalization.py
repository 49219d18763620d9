"""The normalization of the clean estimate, where that estimate is linear in the latent."""

import pytest
import torch

from latentedit.numerics import clean_estimate, level_batch
from latentedit_bench.experiments.normalization import (
    NORMALIZED,
    Normalized,
    normalization,
    normalized,
    with_deviation_of,
)
from latentedit_bench.experiments.study import Study
from research.tests.bench.experiments.gaussians import gaussian
from research.tests.bench.experiments.leaning import wide_model
from tests.editors.edits import gray
from tests.geometry.examples import random_normal

LEVEL = 0.6


def test_the_deviation_is_the_others_and_the_mean_its_own() -> None:
    x, like = 3 + random_normal(2, 3, 4), 7 * random_normal(2, 3, 4, seed=1) - 5
    found = with_deviation_of(x, like)
    assert found.flatten(1).std(1).tolist() == pytest.approx(like.flatten(1).std(1).tolist())
    assert found.flatten(1).mean(1).tolist() == pytest.approx(x.flatten(1).mean(1).tolist())
    assert torch.corrcoef(torch.stack([found[0].flatten(), x[0].flatten()]))[0, 1] == pytest.approx(1)


def test_the_right_kappa_gives_the_estimate_its_deviation_back() -> None:
    """A Gaussian of variance .01 has x_hat = k z, so e_hat follows x_t with (1 - (1 - s) k) / sigma."""
    backbone = gaussian(torch.tensor([0.01]), torch.eye(8)[:1], (8,))
    text, before = backbone.embed([""]).repeat(3), random_normal(3, 8)
    moved, s = before + 0.5 * random_normal(3, 8, seed=1), level_batch(LEVEL, before)

    def deviation(z: torch.Tensor) -> list[float]:
        return clean_estimate(z, s, backbone.velocity(z, s, text)).std(1).tolist()

    k = (1 - LEVEL) * 0.01 / ((1 - LEVEL) ** 2 * 0.01 + LEVEL**2)
    sigma = LEVEL / ((1 - LEVEL) ** 2 + LEVEL**2) ** 0.5
    right = (1 - (1 - LEVEL) * k) / sigma
    cases: list[tuple[Normalized, float]] = [("kappa", right), ("kappa", 0.9 * right), ("none", 0.0)]
    found = {
        (how, kappa): deviation(normalized(backbone, before, moved, LEVEL, text, how=how, kappa=kappa))
        for how, kappa in cases
    }
    assert found["kappa", right] == pytest.approx(deviation(before), rel=1e-9)
    assert found["none", 0.0] == deviation(moved)
    assert found["kappa", 0.9 * right] != pytest.approx(deviation(before), rel=1e-2)
    # the noise estimate is kept: (1 - s) P' + s e_hat
    kept = normalized(backbone, before, moved, LEVEL, text, how="estimate", kappa=0.0)
    wanted = with_deviation_of(k * moved, k * before)
    assert torch.allclose(kept, (1 - LEVEL) * wanted + moved - (1 - LEVEL) * k * moved, atol=1e-12)


def test_rows_compare_normalizations_of_the_basis_with_those_of_a_random_direction() -> None:
    """Without normalization four steps are one, along directions of the same length."""
    study = Study.of(wide_model(), [gray()], levels=(0.5,), rank=2, site="clean", steps=4)
    one, four = (
        {(row["kind"], row["normalized"]): row for row in normalization.function(study, 0.5, 0, steps=n, reach=0.3)}
        for n in (1, 4)
    )
    kinds = ("local basis", "random")
    assert set(four) == {(kind, how) for kind in kinds for how in NORMALIZED}
    for kind in kinds:
        assert four[kind, "none"]["contrast"] == pytest.approx(one[kind, "none"]["contrast"], rel=1e-4)
        assert four[kind, "none"]["effect"] == pytest.approx(one[kind, "none"]["effect"], rel=1e-4)
        assert four[kind, "kappa"]["contrast"] != pytest.approx(one[kind, "none"]["contrast"], rel=1e-2)
