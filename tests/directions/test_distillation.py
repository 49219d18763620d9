"""Residuals against closed forms of the mixture, and of a model whose estimates are affine in the text."""

import dataclasses
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.core.errors import ModelError
from latentedit.core.rng import draw
from latentedit.directions import distillation
from latentedit.directions.distillation import Distillation, Residual, check_finite, needs_source, text_step
from latentedit.latents.joint import JointLatent
from latentedit.testing.gaussian_mixture import GaussianMixtureBackbone, example_mixture
from latentedit.testing.tolerances import relative_error, tolerance
from tests.directions.mixtures import LinearTextBackbone, clean_at, levels_of, mixture_latent, times

EXACT = tolerance("velocity", torch.float64)
DIFFERENCE = tolerance("difference", torch.float64)
LEVEL = 0.45
RESIDUALS: tuple[Residual, ...] = ("dds", "sds", "mixed")


@pytest.fixture
def mixture() -> GaussianMixtureBackbone:
    return example_mixture(dimension=6, latent=(2, 3))


@pytest.fixture
def latent(mixture: GaussianMixtureBackbone) -> JointLatent:
    return mixture_latent(mixture)


@pytest.fixture
def target(mixture: GaussianMixtureBackbone) -> Condition:
    return mixture.embed(["c"]).expand(3)


@pytest.fixture
def noise() -> Tensor:
    return draw((2, 2, 3), seed=0, purpose="distillation").double()


@pytest.fixture
def moved() -> Tensor:
    return 0.3 * draw((3, 2, 3), seed=1, purpose="distillation").double()


def noised(x: Tensor, e: Tensor) -> Tensor:
    return (1 - LEVEL) * x + LEVEL * e


def text_slope(backbone: GaussianMixtureBackbone, z: Tensor, source: Condition, target: Condition) -> Tensor:
    """``(d x_hat / dc) n`` in closed form: the covariance over components of ``n_k`` and their estimates."""
    weights = backbone.at(z, levels_of(z, LEVEL), source).weights
    logits = (target - source).tokens.sum(1)
    centred = logits - (weights * logits).sum(1, keepdim=True)
    estimates = torch.stack([clean_at(backbone, z, LEVEL, backbone.only(k)).flatten(1) for k in range(3)], dim=1)
    return torch.einsum("bk,bk,bki->bi", weights, centred, estimates).reshape(z.shape)


@pytest.mark.parametrize("away", [0.0, 1.0])
def test_delta_denoising(
    mixture: GaussianMixtureBackbone,
    latent: JointLatent,
    target: Condition,
    noise: Tensor,
    moved: Tensor,
    away: float,
) -> None:
    moved = away * moved
    found = Distillation(latent=latent, target=target).at(moved if away else None, LEVEL, noise).residual
    for row, e in zip(found, noise, strict=True):
        edited = clean_at(mixture, noised(latent.z + moved, e), LEVEL, target)
        still = clean_at(mixture, noised(latent.z, e), LEVEL, latent.condition)
        assert relative_error(row, edited - still - moved) < EXACT
        assert relative_error(row, edited - still + moved) > 0.1 or not away


@pytest.mark.parametrize("away", [0.0, 1.0])
def test_score_distillation(
    mixture: GaussianMixtureBackbone,
    latent: JointLatent,
    target: Condition,
    noise: Tensor,
    moved: Tensor,
    away: float,
) -> None:
    y = latent.z + away * moved
    residual = Distillation(latent=latent, target=target, residual="sds")
    found = residual.at(away * moved if away else None, LEVEL, noise).residual
    for row, e in zip(found, noise, strict=True):
        y_s = noised(y, e)
        assert relative_error(row, clean_at(mixture, y_s, LEVEL, target) - y) < EXACT
        # the pull ``s^2 S / a`` and the noise that averages out, ``s e / a``
        score = mixture.at(y_s, levels_of(y_s, LEVEL), target).score.reshape(y.shape)
        assert relative_error(row, (LEVEL**2 * score + LEVEL * e) / (1 - LEVEL)) < EXACT


def test_the_mixed_residual_is_the_derivative_along_the_text(
    mixture: GaussianMixtureBackbone, latent: JointLatent, target: Condition, noise: Tensor
) -> None:
    found = Distillation(latent=latent, target=target, residual="mixed").at(None, LEVEL, noise).residual
    for row, e in zip(found, noise, strict=True):
        x_s = noised(latent.z, e)
        assert relative_error(row, text_slope(mixture, x_s, latent.condition, target)) < DIFFERENCE
        delta = clean_at(mixture, x_s, LEVEL, target) - clean_at(mixture, x_s, LEVEL, latent.condition)
        assert relative_error(row, delta) > 0.1


def test_the_mixed_residual_of_an_edit_pulls_back_as_delta_denoising_does(
    mixture: GaussianMixtureBackbone, latent: JointLatent, target: Condition, noise: Tensor, moved: Tensor
) -> None:
    found = Distillation(latent=latent, target=target, residual="mixed").at(moved, LEVEL, noise).residual
    for row, e in zip(found, noise, strict=True):
        x_s, y_s = noised(latent.z, e), noised(latent.z + moved, e)
        estimates = [clean_at(mixture, z, LEVEL, latent.condition) for z in (y_s, x_s)]
        slope = text_slope(mixture, y_s, latent.condition, target)
        assert relative_error(row, slope + estimates[0] - estimates[1] - moved) < DIFFERENCE
        assert relative_error(row, slope) > 0.1


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_the_step_in_the_text_is_near_the_best(dtype: torch.dtype) -> None:
    """Much longer and much shorter steps do worse."""
    mixture = example_mixture(dimension=6, dtype=dtype)
    exact = example_mixture(dimension=6)
    latent = mixture_latent(mixture)
    e = draw((1, 6), seed=0, purpose="distillation").to(dtype)
    x_s = noised(latent.z.double(), e[0].double())
    truth = text_slope(exact, x_s, exact.embed(["a"]), exact.embed(["c"]))

    def error(h: float) -> float:
        source, way = latent.condition, mixture.embed(["c"]).expand(3) - latent.condition
        v = [mixture.velocity(x_s.to(dtype), levels_of(latent.z, LEVEL), source + way * k) for k in (h, -h)]
        return relative_error(-LEVEL * (v[0] - v[1]) / (2 * h), truth)

    h = text_step(dtype)
    assert error(h) < (DIFFERENCE if dtype == torch.float64 else 1e-3)
    assert error(h) < error(10 * h)
    assert error(h) < error(h / 1000)


def test_all_is_the_same_where_estimates_are_affine_in_the_text(moved: Tensor) -> None:
    """``x_hat(c0 + a n) = x_hat(c0) + a g``: mixed is delta denoising; score distillation is not."""
    backbone = LinearTextBackbone(example_mixture(dimension=6, shared_covariance=True).mixture)
    latent, target = mixture_latent(backbone), backbone.embed(["c"]).expand(3)
    away, e = moved.flatten(1), draw((2, 6), seed=0, purpose="distillation").double()
    for step in (None, away):
        dds, sds, mixed = (
            Distillation(latent=latent, target=target, residual=kind).at(step, LEVEL, e).residual for kind in RESIDUALS
        )
        assert relative_error(mixed, dds) < DIFFERENCE
        assert relative_error(sds, dds) > 0.1
    shift = backbone.mean(target) - backbone.mean(latent.condition)
    there = Distillation(latent=latent, target=target, residual="mixed").at(shift, LEVEL, e).residual
    assert float(there.abs().max()) < 1e-9  # the fixed point


@pytest.mark.parametrize("kind", RESIDUALS)
def test_equal_texts_ask_for_exactly_nothing(
    kind: Residual, mixture: GaussianMixtureBackbone, latent: JointLatent, noise: Tensor
) -> None:
    texts = mixture.embed(["a", "b", "a"])
    found = Distillation(latent=latent, target=texts, residual=kind).at(None, LEVEL, noise).residual
    assert not found[:, ::2].any()
    assert bool((found[:, 1] != 0).all())


@pytest.mark.parametrize("kind", RESIDUALS)
def test_captions_to_keep_are_read_at_the_source(
    kind: Residual,
    mixture: GaussianMixtureBackbone,
    latent: JointLatent,
    target: Condition,
    noise: Tensor,
    moved: Tensor,
) -> None:
    texts = tuple(mixture.embed([text]).expand(3) for text in ("b", "a b"))
    pull = Distillation(latent=latent, target=target, residual=kind, preserve=texts).at(moved, LEVEL, noise)
    plain = Distillation(latent=latent, target=target, residual=kind).at(moved, LEVEL, noise)
    assert relative_error(pull.residual, plain.residual) < EXACT
    assert plain.preserved == ()
    start = Distillation(latent=latent, target=target, residual=kind)
    both = [side.at(None, LEVEL, noise).residual for side in (start, dataclasses.replace(start, preserve=texts))]
    assert relative_error(both[1], both[0]) < EXACT
    for text, change in zip(texts, pull.preserved, strict=True):
        for row, e in zip(change, noise, strict=True):
            x_s = noised(latent.z, e)
            expected = clean_at(mixture, x_s, LEVEL, text) - clean_at(mixture, x_s, LEVEL, latent.condition)
            assert relative_error(row, expected) < tolerance("derivative", torch.float64)  # small differences cancel


@pytest.mark.parametrize("kind", RESIDUALS)
@pytest.mark.parametrize("preserved", [0, 2])
@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_costs_a_branch_each(
    kind: Residual,
    preserved: int,
    first: bool,
    guidance: float,
    mixture: GaussianMixtureBackbone,
    latent: JointLatent,
    target: Condition,
    noise: Tensor,
    moved: Tensor,
) -> None:
    whole = Distillation(
        latent=latent,
        target=target,
        preserve=(mixture.embed(["b"]).expand(3),) * preserved,
        residual=kind,
        guidance=guidance,
        unconditional=mixture.embed([""]),
    )
    with mixture.count() as cost:
        whole.at(None if first else moved, LEVEL, noise)
    source = {"dds": 1, "sds": int(preserved > 0), "mixed": int(preserved > 0 or not first)}[kind]
    assert needs_source(kind, first=first, preserved=preserved) == bool(source)
    branches = {"dds": 1, "sds": 1, "mixed": 2}[kind] + source + preserved
    assert cost.evaluations == 3 * 2 * branches * (1 if guidance == 1 else 2)


@pytest.mark.parametrize("kind", RESIDUALS)
def test_guidance_extrapolates_every_branch(
    kind: Residual,
    mixture: GaussianMixtureBackbone,
    latent: JointLatent,
    target: Condition,
    noise: Tensor,
    moved: Tensor,
) -> None:
    """Residuals are affine in the velocities: ``r_w = r_null + w (r_1 - r_null)``, all texts empty in r_null."""
    empty = mixture.embed([""])

    def found(source: Condition, wanted: Condition, guidance: float) -> Tensor:
        side = dataclasses.replace(latent, condition=source)
        whole = Distillation(latent=side, target=wanted, residual=kind, guidance=guidance, unconditional=empty)
        return whole.at(moved, LEVEL, noise).residual

    # a hair away from the empty text, for equal texts ask for nothing
    hair = empty.expand(3) + target * 1e-12
    null = found(empty.expand(3), hair, 1.0)
    plain = found(latent.condition, target, 1.0)
    assert relative_error(found(latent.condition, target, 2.5), null + 2.5 * (plain - null)) < DIFFERENCE


def test_the_jacobian_is_the_sources_at_the_source(
    mixture: GaussianMixtureBackbone, latent: JointLatent, target: Condition, noise: Tensor, moved: Tensor
) -> None:
    pull = Distillation(latent=latent, target=target, guidance=3.0, unconditional=mixture.embed([""])).at(
        moved, LEVEL, noise
    )
    rows = torch.cat([noised(latent.z, e) for e in noise])
    u = draw(rows.shape, seed=2, purpose="distillation").double()
    truth = mixture.at(rows, levels_of(rows, LEVEL), latent.condition.repeat(2)).jacobian
    assert relative_error(pull.jacobian.matvec(u), times(truth, u)) < tolerance("derivative", torch.float64)


def test_calls_are_cut_into_chunks(
    mixture: GaussianMixtureBackbone,
    latent: JointLatent,
    target: Condition,
    noise: Tensor,
    moved: Tensor,
    monkeypatch: pytest.MonkeyPatch,
    rows_asked: Callable[..., list[int]],
) -> None:
    sizes = rows_asked(mixture)
    whole = Distillation(latent=latent, target=target, preserve=(mixture.embed(["b"]).expand(3),))
    together = whole.at(moved, LEVEL, noise)
    assert sizes == [18]
    monkeypatch.setattr(distillation, "ROWS", 5)
    cut = whole.at(moved, LEVEL, noise)
    assert sizes[1:] == [5, 5, 5, 3]
    assert relative_error(cut.residual, together.residual) < EXACT
    assert relative_error(cut.preserved[0], together.preserved[0]) < EXACT


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_broken_network_is_named(
    bad: float, mixture: GaussianMixtureBackbone, latent: JointLatent, target: Condition, noise: Tensor
) -> None:
    mixture.mixture.means[1, 2] = bad
    with pytest.raises(ModelError, match=r"gaussian-mixture has values that are not finite, at level s = 0.45"):
        Distillation(latent=latent, target=target).at(None, LEVEL, noise)


def test_finite_numbers_pass() -> None:
    check_finite(torch.tensor([0.0, 1e30]), "velocity", "the model", 0.5)
