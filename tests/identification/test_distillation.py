"""Distillation residuals against closed forms of the mixture."""

import dataclasses
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from latentedit.core.errors import ModelError
from latentedit.identification.residuals import Distillation, Residual, needs_source, text_step
from latentedit.numerics.condition import Condition
from latentedit.numerics.rng import draw
from tests.identification.mixtures import clean_at, levels_of, mixture_latent
from tests.numerics.dense import batch_matvec
from tests.testing.gaussian_mixture import GaussianMixtureBackbone, example_mixture
from tests.testing.tolerances import relative_error, tolerance

EXACT = tolerance("velocity", torch.float64)
DIFFERENCE = tolerance("difference", torch.float64)
LEVEL = 0.45
RESIDUALS: tuple[Residual, ...] = ("dds", "sds", "mixed")
MIXTURE = example_mixture(dimension=6, latent=(2, 3))
LATENT = mixture_latent(MIXTURE)
TARGET = MIXTURE.embed(["c"]).expand(3)
NOISE = draw((2, 1, 2, 3), seed=0, purpose="distillation").double()  # two noises, which all images share
MOVED = 0.3 * draw((3, 2, 3), seed=1, purpose="distillation").double()


def noised(x: Tensor, e: Tensor) -> Tensor:
    return (1 - LEVEL) * x + LEVEL * e


def text_slope(backbone: GaussianMixtureBackbone, z: Tensor, source: Condition, target: Condition) -> Tensor:
    """``(d x_hat / dc) n`` in closed form: the covariance over components of ``n_k`` and their estimates."""
    weights = backbone.at(z, levels_of(z, LEVEL), source).weights
    logits = (target - source).tokens.sum(1)
    centered = logits - (weights * logits).sum(1, keepdim=True)
    estimates = torch.stack([clean_at(backbone, z, LEVEL, backbone.only(k)).flatten(1) for k in range(3)], dim=1)
    return torch.einsum("bk,bk,bki->bi", weights, centered, estimates).reshape(z.shape)


@pytest.mark.parametrize("moved", [None, MOVED])
def test_residuals_match_closed_forms(moved: Tensor | None) -> None:
    def residual_of(kind: Residual) -> Tensor:
        return Distillation(latent=LATENT, target=TARGET, residual=kind).at(moved, LEVEL, NOISE).residual

    displacement = torch.zeros_like(MOVED) if moved is None else moved
    for dds, sds, mixed, e in zip(*map(residual_of, RESIDUALS), NOISE, strict=True):
        x_s, y_s = noised(LATENT.z, e), noised(LATENT.z + displacement, e)
        edited = clean_at(MIXTURE, y_s, LEVEL, TARGET)
        source_estimate = clean_at(MIXTURE, x_s, LEVEL, LATENT.condition)
        assert relative_error(dds, edited - source_estimate - displacement) < EXACT
        assert relative_error(sds, edited - LATENT.z - displacement) < EXACT
        # the score's part ``s^2 S / a`` and the noise's ``s e / a``, which averages out
        score = MIXTURE.at(y_s, levels_of(y_s, LEVEL), TARGET).score.reshape(y_s.shape)
        assert relative_error(sds, (LEVEL**2 * score + LEVEL * e) / (1 - LEVEL)) < EXACT
        slope = text_slope(MIXTURE, y_s, LATENT.condition, TARGET)
        drift = clean_at(MIXTURE, y_s, LEVEL, LATENT.condition) - source_estimate - displacement
        assert relative_error(mixed, slope + drift) < DIFFERENCE
        assert relative_error(mixed, dds) > 0.05


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_the_text_step_is_nearly_optimal(dtype: torch.dtype) -> None:
    """Steps 10 times as long or 1000 times shorter have larger errors."""
    mixture = example_mixture(dimension=6, dtype=dtype)
    exact = example_mixture(dimension=6)
    latent = mixture_latent(mixture)
    e = draw((1, 6), seed=0, purpose="distillation").to(dtype)
    x_s = noised(latent.z.double(), e[0].double())
    truth = text_slope(exact, x_s, exact.embed(["a"]), exact.embed(["c"]))

    def error(h: float) -> float:
        source, change = latent.condition, mixture.embed(["c"]).expand(3) - latent.condition
        v = [mixture.velocity(x_s.to(dtype), levels_of(latent.z, LEVEL), source + change * k) for k in (h, -h)]
        return relative_error(-LEVEL * (v[0] - v[1]) / (2 * h), truth)

    h = text_step(dtype)
    assert error(h) < (DIFFERENCE if dtype == torch.float64 else 1e-3)
    assert error(h) < error(10 * h)
    assert error(h) < error(h / 1000)


@pytest.mark.parametrize("moved", [None, MOVED])
def test_contrast_extrapolates_from_the_source_text_at_the_edit(moved: Tensor | None) -> None:
    displacement = torch.zeros_like(MOVED) if moved is None else moved
    distillation = Distillation(latent=LATENT, target=TARGET)
    with MIXTURE.count() as cost:
        residuals = distillation.at(moved, LEVEL, NOISE, contrast=1.4).residual
    assert cost.evaluations == 3 * 2 * (2 if moved is None else 3)
    for residual, e in zip(residuals, NOISE, strict=True):
        x_s, y_s = noised(LATENT.z, e), noised(LATENT.z + displacement, e)
        old, new = (clean_at(MIXTURE, y_s, LEVEL, text) for text in (LATENT.condition, TARGET))
        truth = old + 1.4 * (new - old) - clean_at(MIXTURE, x_s, LEVEL, LATENT.condition) - displacement
        assert relative_error(residual, truth) < EXACT


@pytest.mark.parametrize("kind", RESIDUALS)
@pytest.mark.parametrize(("first", "guidance"), [(True, 1.0), (True, 2.0), (False, 2.0)])
def test_every_branch_is_counted(kind: Residual, first: bool, guidance: float) -> None:
    distillation = Distillation(
        latent=LATENT,
        target=TARGET,
        residual=kind,
        guidance=guidance,
        unconditional=MIXTURE.embed([""]),
    )
    with MIXTURE.count() as cost:
        distillation.at(None if first else MOVED, LEVEL, NOISE)
    source = {"dds": 1, "sds": 0, "mixed": int(not first)}[kind]
    assert needs_source(kind, first=first) == bool(source)
    branches = {"dds": 1, "sds": 1, "mixed": 2}[kind] + source
    assert cost.evaluations == 3 * 2 * branches * (1 if guidance == 1 else 2)


@pytest.mark.parametrize("kind", RESIDUALS)
def test_guidance_extrapolates_every_branch(kind: Residual) -> None:
    """Residuals are affine in the velocities: ``r_w = r_null + w (r_1 - r_null)``, all texts empty in r_null."""
    empty = MIXTURE.embed([""])

    def residual(source: Condition, target: Condition, guidance: float) -> Tensor:
        source_latent = dataclasses.replace(LATENT, condition=source)
        distillation = Distillation(
            latent=source_latent, target=target, residual=kind, guidance=guidance, unconditional=empty
        )
        return distillation.at(MOVED, LEVEL, NOISE).residual

    # nearly the empty text, since the residual of equal texts is zero
    nearly_empty = empty.expand(3) + TARGET * 1e-12
    null = residual(empty.expand(3), nearly_empty, 1.0)
    plain = residual(LATENT.condition, TARGET, 1.0)
    assert relative_error(residual(LATENT.condition, TARGET, 2.5), null + 2.5 * (plain - null)) < DIFFERENCE


def test_the_jacobian_is_unguided_and_under_the_source_text() -> None:
    guided = Distillation(latent=LATENT, target=TARGET, guidance=3.0, unconditional=MIXTURE.embed([""]))
    rows = torch.cat([noised(LATENT.z, e) for e in NOISE])
    u = draw(rows.shape, seed=2, purpose="distillation").double()
    truth = MIXTURE.at(rows, levels_of(rows, LEVEL), LATENT.condition.repeat(2)).jacobian
    assert relative_error(guided.jacobian(LEVEL, NOISE).matvec(u), batch_matvec(truth, u)) < tolerance(
        "derivative", torch.float64
    )


def test_calls_are_split_into_chunks(requested_rows: Callable[..., list[int]]) -> None:
    sizes, noise = requested_rows(MIXTURE), draw((12, 1, 2, 3), seed=4, purpose="distillation").double()
    distillation = Distillation(latent=LATENT, target=TARGET)
    chunked = distillation.at(MOVED, LEVEL, noise)
    assert sizes == [64, 8], "two texts at twelve noises of three images"
    parts = [distillation.at(MOVED, LEVEL, chunk) for chunk in noise.split(4)]
    assert relative_error(chunked.residual, torch.cat([part.residual for part in parts])) < EXACT


def test_nan_outputs_raise_a_model_error() -> None:
    mixture = example_mixture(dimension=6, latent=(2, 3))
    mixture.mixture.means[1, 2] = torch.nan
    with pytest.raises(ModelError):
        Distillation(latent=mixture_latent(mixture), target=TARGET).at(None, LEVEL, NOISE)
