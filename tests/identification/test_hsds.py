"""The search for a direction against closed forms of the Gaussian mixture."""

import dataclasses
import itertools
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import forward_ad

from latentedit.core.errors import ModelError
from latentedit.core.setting import from_plain, to_plain
from latentedit.encoding.joint import JointLatent
from latentedit.identification.hsds import HSDS, find_direction
from latentedit.identification.locality import change_share
from latentedit.numerics.condition import Condition
from tests.identification.mixtures import (
    LinearTextBackbone,
    between_modes,
    clean_at,
    dense_solve,
    guidance_distilled,
    levels_of,
    mixture_latent,
    noise_of,
    scaled_hessian,
    two_modes,
)
from tests.numerics.dense import batch_matvec
from tests.testing.gaussian_mixture import GaussianMixtureBackbone, example_mixture
from tests.testing.tolerances import relative_error, tolerance

EXACT = tolerance("velocity", torch.float64)
DERIVATIVE = tolerance("derivative", torch.float64)


@pytest.fixture
def mixture() -> GaussianMixtureBackbone:
    return example_mixture(dimension=6, latent=(2, 3))


def noised_sources(latent: JointLatent, s: float, *, seed: int = 0, index: int = 0, noises: int = 1) -> list[Tensor]:
    """The noised latents of a level, one batch for each noise."""
    return [(1 - s) * latent.z + s * noise for noise in noise_of(latent, seed=seed, index=index, noises=noises)]


@pytest.mark.parametrize("level", [0.2, 0.6, 0.95])
def test_the_one_sided_product_is_exact_for_affine_estimates(mixture: GaussianMixtureBackbone, level: float) -> None:
    """Otherwise it is the difference of the estimates at both ends of the residual, at half the cost."""
    config = HSDS(gamma=-0.5, levels=(level, level), steps=1, noises=2, one_sided=True)
    exact = dataclasses.replace(config, one_sided=False)
    shared = example_mixture(dimension=6, shared_covariance=True)
    latent, target = mixture_latent(shared, condition=shared.only(0)), shared.only(1)
    with shared.count() as cost:
        found = find_direction(latent, target, config, seed=0).z
    assert cost.evaluations == config.evaluations() * len(latent) == 6 * len(latent)
    assert relative_error(found, find_direction(latent, target, exact, seed=0).z) < DERIVATIVE

    latent, target = mixture_latent(mixture), mixture.embed(["c"])
    total = torch.zeros_like(latent.z)
    for x_s in noised_sources(latent, level, noises=2):
        source_estimate = clean_at(mixture, x_s, level, latent.condition)
        r = clean_at(mixture, x_s, level, target) - source_estimate
        total += r - 0.5 * (clean_at(mixture, x_s + (1 - level) * r, level, latent.condition) - source_estimate)
    curved = find_direction(latent, target, config, seed=0).z
    assert relative_error(curved, total / 2) < EXACT
    assert level > 0.9 or relative_error(curved, find_direction(latent, target, exact, seed=0).z) > 1e-4


def test_gamma_applies_only_within_its_levels(mixture: GaussianMixtureBackbone) -> None:
    """The first of two steps is that of a search of one step; the second has no Hessian."""
    latent, target = mixture_latent(mixture), mixture.embed(["c"])
    config = HSDS(gamma=-0.5, levels=(0.9, 0.4), steps=2, step_size=1.0, gamma_levels=(0.9, 0.5))
    with mixture.count() as cost:
        found = find_direction(latent, target, config, seed=0).z
    assert cost.evaluations == config.evaluations() * len(latent) == 6 * len(latent)
    first = find_direction(latent, target, HSDS(gamma=-0.5, levels=(0.9, 0.9), steps=1), seed=0).z
    (x_s,) = noised_sources(latent, 0.4, index=1)
    expected = clean_at(mixture, x_s + 0.6 * first, 0.4, target) - clean_at(mixture, x_s, 0.4, latent.condition)
    assert relative_error(found, expected) < 1e-11


@pytest.mark.parametrize(("keep", "drop"), [(0.3, 0.0), (0.0, 0.3), (0.2, 0.4)])
@pytest.mark.parametrize("step_size", [0.4, None])
def test_the_source_is_kept_and_its_residual_is_dropped(keep: float, drop: float, step_size: float | None) -> None:
    """Two steps on images of three channels; the second is written out position by position."""
    backbone = example_mixture(dimension=12, latent=(3, 2, 2))
    latent, target = mixture_latent(backbone), backbone.embed(["c"])
    config = HSDS(levels=(0.9, 0.4), steps=2, step_size=step_size, keep_source=keep, drop_residual=drop)
    found = find_direction(latent, target, config, seed=0).z
    (first, step), (second, next_step) = config.path()
    moved = step * find_direction(latent, target, HSDS(levels=(first, first), steps=1), seed=0).z
    (x_s,) = noised_sources(latent, second, index=1)
    source_estimate = clean_at(backbone, x_s, second, latent.condition)
    wanted = clean_at(backbone, x_s + (1 - second) * moved, second, target) - source_estimate
    if drop:
        share = change_share(moved, drop)
        for image, row, column in itertools.product(range(3), range(2), range(2)):
            m, q = moved[image, :, row, column], (latent.z - source_estimate)[image, :, row, column]
            wanted[image, :, row, column] -= share[image, 0, row, column] ** 2 * (q @ m) / (m @ m) * m
    if keep:
        wanted = change_share(moved, keep) * wanted
    assert relative_error(found, moved + next_step * (wanted - moved)) < 1e-11


def test_contrast_acts_in_the_first_and_the_last_step(mixture: GaussianMixtureBackbone) -> None:
    """There the target's estimate is extrapolated away from that of the source text at the edit."""
    latent, target = mixture_latent(mixture), mixture.embed(["c"])
    config = HSDS(levels=(0.9, 0.3), steps=3, step_size=0.4, contrast=1.5)
    with mixture.count() as cost:
        found = find_direction(latent, target, config, seed=0).z
    assert cost.evaluations == config.evaluations() * len(latent) == 7 * len(latent)
    moved = torch.zeros_like(latent.z)
    for index, (s, contrast) in enumerate([(0.9, 1.5), (0.6, 1.0), (0.3, 1.5)]):
        (x_s,) = noised_sources(latent, s, index=index)
        y_s = x_s + (1 - s) * moved
        old, source = clean_at(mixture, y_s, s, latent.condition), clean_at(mixture, x_s, s, latent.condition)
        moved = moved + 0.4 * (old + contrast * (clean_at(mixture, y_s, s, target) - old) - source - moved)
    assert relative_error(found, moved) < 1e-11


@pytest.mark.parametrize("gain", [0.5, 1.06])
def test_the_gain_scales_the_whole_displacement(mixture: GaussianMixtureBackbone, gain: float) -> None:
    latent, target, config = mixture_latent(mixture), mixture.embed(["c"]), HSDS(steps=3, keep_source=0.2)
    once = find_direction(latent, target, config, seed=0).z
    assert torch.equal(find_direction(latent, target, dataclasses.replace(config, gain=gain), seed=0).z, gain * once)
    plain = find_direction(latent, target, HSDS(steps=1), seed=0).z
    masked = HSDS(steps=1, keep_source=0.3, drop_residual=0.3)
    assert torch.equal(find_direction(latent, target, masked, seed=0).z, plain)  # at the first step nothing has changed


@pytest.mark.parametrize(("gamma", "weight"), [(-1.0, 1.0), (0.3, 1.0), (1.0, 3.0)])
def test_gamma_family_on_a_mixture_uses_the_unguided_source_jacobian(
    mixture: GaussianMixtureBackbone, gamma: float, weight: float
) -> None:
    latent, target, s, seed = mixture_latent(mixture), mixture.embed(["c"]), 0.55, 4
    config = HSDS(gamma=gamma, levels=(s, s), steps=1, noises=3, guidance=weight)
    found = find_direction(latent, target, config, seed=seed).z

    def expected(jacobian_text: Condition) -> Tensor:
        total = torch.zeros_like(latent.z)
        for x_s in noised_sources(latent, s, seed=seed, noises=3):
            # the empty text cancels
            r = weight * (clean_at(mixture, x_s, s, target) - clean_at(mixture, x_s, s, latent.condition))
            jacobian = mixture.at(x_s, levels_of(x_s, s), jacobian_text).jacobian
            total = total + r + gamma * (1 - s) * (r - s * batch_matvec(jacobian, r))
        return total / 3

    assert relative_error(found, expected(latent.condition)) < DERIVATIVE
    assert relative_error(found, expected(target)) > 1e-3


def test_t3_annealed_search_is_delta_denoising(mixture: GaussianMixtureBackbone) -> None:
    """T3: ``e_hat(y_s) - e_hat(x_s) = (1-s)(dv + y - x)``, so a step is ``-s / (1-s)`` of the DDS gradient."""
    latent, target, seed = mixture_latent(mixture), mixture.embed(["c"]), 2
    config = HSDS(levels=(0.9, 0.3), steps=5, step_size=0.4)
    found = find_direction(latent, target, config, seed=seed).z

    def delta_denoising(*, relative_to_source: bool) -> Tensor:
        y = latent.z.clone()
        for index in range(5):
            s = 0.9 - 0.15 * index
            noise = noise_of(latent, seed=seed, index=index)
            x_s, y_s = (1 - s) * latent.z + s * noise, (1 - s) * y + s * noise
            e_target = (y_s - (1 - s) * clean_at(mixture, y_s, s, target)) / s
            e_source = (x_s - (1 - s) * clean_at(mixture, x_s, s, latent.condition)) / s
            step = -s / (1 - s) * (e_target - e_source)
            y = y + 0.4 * (step if relative_to_source else step + s * (y - latent.z))
        return y - latent.z

    assert relative_error(found, delta_denoising(relative_to_source=True)) < 1e-11  # five steps with errors of 1e-12
    assert relative_error(found, delta_denoising(relative_to_source=False)) > 1e-2


def test_embedded_guidance_is_1_in_residual_and_jacobian(mixture: GaussianMixtureBackbone) -> None:
    """At weight 1 the search is that of the mixture itself, whatever weight the network was published with."""
    latent, target = mixture_latent(mixture), mixture.embed(["c"])
    distilled = dataclasses.replace(latent, backbone=guidance_distilled(mixture))
    for one_sided in (False, True):
        config = HSDS(levels=(0.5, 0.5), steps=1, gamma=-0.5, one_sided=one_sided)
        found = find_direction(distilled, target, config, seed=0).z
        assert relative_error(found, find_direction(latent, target, config, seed=0).z) < DERIVATIVE


_SHORT: dict[str, Any] = {"steps": 2, "noises": 2}
_LONG: dict[str, Any] = {"antithetic": True, "levels": (0.95, 0.0), "shift": 2.5, "step_size": None}
SEARCHES = [
    HSDS(residual="dds", gamma=0.5, **_SHORT),
    HSDS(residual="sds", filter="newton", **_SHORT),
    HSDS(residual="mixed", filter="levenberg-marquardt", **_SHORT),
    HSDS(steps=4, noises=2, keep_source=0.2),
    HSDS(steps=4, noises=2, keep_source=0.01, drop_residual=0.3, **_LONG),
    HSDS(steps=3, gamma=0.5, keep_source=0.2, drop_residual=0.2, guidance=2.0),
]


@pytest.mark.slow_except("dds-gamma-4_0")
@pytest.mark.parametrize("config", SEARCHES, ids=lambda config: f"{config.residual}-{config.filter}-{config.steps}")
def test_equal_texts_give_zero_in_any_batch(mixture: GaussianMixtureBackbone, config: HSDS) -> None:
    """Law T11: the other images of a batch do not matter."""
    latent, target = mixture_latent(mixture), mixture.embed(["a", "c", "a"])
    direction = find_direction(latent, target, config, seed=3)
    assert not direction.z[::2].any()
    assert not direction.condition.tokens[::2].any()
    assert direction.length.count_nonzero() == 1
    alone = dataclasses.replace(latent, z=latent.z[1:2], condition=latent.condition[1:2], captions=("a",))
    found = find_direction(alone, target[1:2], config, seed=3).z
    bound = tolerance("difference", torch.float64) if config.residual == "mixed" else 1e-9
    assert relative_error(found, direction.z[1:2]) < bound  # solvers and differences magnify rounding
    assert not torch.equal(find_direction(alone, target[1:2], config, seed=1).z, found)


def test_the_direction_records_its_model_and_settings(mixture: GaussianMixtureBackbone) -> None:
    latent, target = mixture_latent(mixture), mixture.embed(["c"])
    seen: list[tuple[str, int, int]] = []
    direction = find_direction(latent, target, HSDS(steps=2), seed=9, progress=lambda *step: seen.append(step))
    assert seen == [("identify", 1, 2), ("identify", 2, 2)]
    assert direction.level == 0.95
    assert direction.model_fingerprint == mixture.fingerprint
    assert direction.settings["seed"] == 9
    assert direction.settings["levels"] == [0.95, 0.3]
    assert direction.z.dtype == latent.z.dtype
    assert torch.equal((direction.condition + latent.condition).tokens, target.expand(3).tokens)


@pytest.mark.slow_except("dds-1.0")
@pytest.mark.parametrize(
    ("residual", "level"), [("dds", 0.05), ("dds", 0.6), ("dds", 1.0), ("mixed", 0.3), ("mixed", 0.95)]
)
def test_newton_is_the_counterfactual_at_every_level(residual: str, level: float) -> None:
    """``H^-1 dS = dmu`` for a shared covariance, at any level; delta denoising does not reach it."""
    backbone = LinearTextBackbone(example_mixture(dimension=6, shared_covariance=True).mixture)
    latent, target = mixture_latent(backbone), backbone.embed(["c"])
    truth = (backbone.mean(target) - backbone.mean(latent.condition)).expand_as(latent.z)
    config = HSDS(residual=residual, filter="newton", damping=0.0, iterations=20, levels=(level, level), steps=1)
    found = find_direction(latent, target, config, seed=0).z
    assert relative_error(found, truth) < (1e-10 if residual == "dds" else tolerance("difference", torch.float64))
    plain = find_direction(latent, target, dataclasses.replace(config, filter="gamma"), seed=0).z
    assert relative_error(plain, truth) > 1e-3 or level == 1  # at s = 1 all curvature is 1


@pytest.mark.slow_except("newton")
@pytest.mark.parametrize("kind", ["newton", "levenberg-marquardt"])
def test_solvers_use_the_mean_hessian_of_the_source(mixture: GaussianMixtureBackbone, kind: str) -> None:
    latent, target, s, mu = mixture_latent(mixture), mixture.embed(["c"]), 0.5, 0.2
    config = HSDS(filter=kind, damping=mu, iterations=15, levels=(s, s), steps=1, noises=3)
    found = find_direction(latent, target, config, seed=1).z
    points = noised_sources(latent, s, seed=1, noises=3)
    r = sum(clean_at(mixture, x_s, s, target) - clean_at(mixture, x_s, s, latent.condition) for x_s in points) / 3
    assert isinstance(r, Tensor)

    def expected(text: Condition) -> Tensor:
        hessian = torch.stack([scaled_hessian(mixture, x_s, s, text) for x_s in points]).mean(0)
        eye = torch.eye(6, dtype=r.dtype)
        if kind == "newton":
            return dense_solve(hessian + mu * eye, r)
        return dense_solve(hessian @ hessian + mu**2 * eye, batch_matvec(hessian, r))

    assert relative_error(found, expected(latent.condition)) < 1e-9
    assert relative_error(found, expected(target)) > 1e-3


def test_negative_curvature_leaves_the_residual_and_is_noted() -> None:
    """Between two modes Newton returns the residual; nearer to one of them it solves."""
    backbone = two_modes()
    latent, target = between_modes(backbone, offset=0.05), backbone.embed(["b"])
    config = HSDS(filter="newton", damping=0.1, iterations=6, levels=(0.2, 0.2), steps=1)
    (x_s,) = noised_sources(latent, 0.2)
    truth = torch.linalg.eigvalsh(scaled_hessian(backbone, x_s, 0.2, latent.condition))
    assert float(truth[0, 0]) < -0.1 < 0 < float(truth[1, 0])
    found = find_direction(latent, target, config, seed=0)
    plain = find_direction(latent, target, dataclasses.replace(config, filter="gamma"), seed=0)
    assert bool(torch.isfinite(found.z).all())
    assert torch.equal(found.z[0], plain.z[0])
    assert relative_error(found.z[1], plain.z[1]) > 0.01
    assert any("1 of 2 images" in note for note in found.notes)
    assert plain.notes == ()
    squared = find_direction(latent, target, dataclasses.replace(config, filter="levenberg-marquardt"), seed=0)
    assert squared.notes == ()


SHARED: dict[str, Any] = {
    "residual": st.sampled_from(["dds", "sds", "mixed"]),
    "guidance": st.sampled_from([1.0, 2.0]),
} | dict.fromkeys(("iterations", "steps"), st.integers(1, 3))
SOLVERS = st.builds(
    HSDS,
    filter=st.sampled_from(["newton", "levenberg-marquardt"]),
    damping=st.sampled_from([0.0, 0.1, 1.0]),
    noises=st.integers(1, 2),
    **SHARED,
)
GAMMAS = st.builds(HSDS, gamma=st.sampled_from([-1.0, 0.0, 0.5]), step_size=st.sampled_from([0.4, None]), **SHARED)


@pytest.mark.slow
@settings(max_examples=8)
@given(config=SOLVERS | GAMMAS, forward_mode=st.booleans())
def test_every_configuration_matches_its_cost_and_round_trips(config: HSDS, forward_mode: bool) -> None:
    """Including indefinite Hessians and undamped solvers."""
    backbone = two_modes()
    backbone.capabilities = dataclasses.replace(
        backbone.capabilities, derivatives=frozenset({"jvp"} if forward_mode else set())
    )
    latent, target = between_modes(backbone, offset=0.1), backbone.embed(["b"])
    with backbone.count() as cost:
        direction = find_direction(latent, target, config, seed=0)
    assert cost.evaluations == len(latent) * config.evaluations()
    assert bool(torch.isfinite(direction.z).all())
    assert from_plain(HSDS, to_plain(config)) == config


def test_two_reverse_passes_replace_a_missing_forward_mode(
    mixture: GaussianMixtureBackbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The network declares forward mode, which fails at the first product."""

    def fail(*arguments: object) -> None:
        raise NotImplementedError("no tangent rule")

    latent, target, config = mixture_latent(mixture), mixture.embed(["c"]), HSDS(gamma=0.5, steps=2)
    forward = find_direction(latent, target, config, seed=0)
    monkeypatch.setattr(forward_ad, "make_dual", fail)
    direction = find_direction(latent, target, config, seed=0)
    assert forward.notes == ()
    assert len(direction.notes) == 1
    assert "two reverse passes" in direction.notes[0]
    assert relative_error(direction.z, forward.z) < tolerance("difference", torch.float64)


def test_a_nonfinite_displacement_raises_a_model_error(
    mixture: GaussianMixtureBackbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    dual = forward_ad.make_dual
    monkeypatch.setattr(forward_ad, "make_dual", lambda point, tangent: dual(point, tangent * torch.nan))
    with pytest.raises(ModelError):
        find_direction(mixture_latent(mixture), mixture.embed(["c"]), HSDS(filter="newton"), seed=0)
