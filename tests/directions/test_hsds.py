"""The one-JVP family against closed forms of the Gaussian mixture."""

import dataclasses

import pytest
import torch
from torch import Tensor

from latentedit.directions import hsds
from latentedit.directions.hsds import HSDS, identify
from latentedit.encoding.joint import JointLatent
from latentedit.errors import ConfigError, ShapeError
from latentedit.testing.gaussian_mixture import GaussianMixtureBackbone, example_mixture
from latentedit.testing.tolerances import relative_error, tolerance
from latentedit.types import Condition
from tests.directions.mixtures import levels_of, mixture_latent, noise_of

EXACT = tolerance("velocity", torch.float64)
DERIVATIVE = tolerance("derivative", torch.float64)


@pytest.fixture
def mixture() -> GaussianMixtureBackbone:
    return example_mixture(dimension=6, latent=(2, 3))


@pytest.fixture
def shared() -> GaussianMixtureBackbone:
    return example_mixture(dimension=6, shared_covariance=True)


def shift(backbone: GaussianMixtureBackbone) -> Tensor:
    return backbone.mixture.means[1] - backbone.mixture.means[0]


def filters(backbone: GaussianMixtureBackbone, s: float, gamma: float) -> Tensor:
    """``(I + gamma (1-s)^2 Sigma C^-1) s^2 C^-1``, by a plain matrix inverse."""
    covariance = backbone.mixture.covariances[0]
    eye = torch.eye(len(covariance), dtype=covariance.dtype)
    inverse = torch.linalg.inv((1 - s) ** 2 * covariance + s**2 * eye)
    return (eye + gamma * (1 - s) ** 2 * covariance @ inverse) @ (s**2 * inverse)


def clean(latent: JointLatent, z: Tensor, s: float, condition: Condition) -> Tensor:
    """The posterior mean in closed form."""
    return latent.backbone.at(z, levels_of(z, s), condition).clean.reshape(z.shape)


@pytest.mark.parametrize("gamma", [-1.0, -0.5, 0.0, 1.0])
@pytest.mark.parametrize("level", [0.2, 0.6, 0.95])
def test_one_step_with_shared_covariance_is_the_filtered_shift(
    shared: GaussianMixtureBackbone, gamma: float, level: float
) -> None:
    latent = mixture_latent(shared, condition=shared.only(0))
    config = HSDS(gamma=gamma, levels=(level, level), steps=1, step_size=0.1, noises=2)
    found = identify(latent, shared.only(1), config, seed=0).z
    expected = (filters(shared, level, gamma) @ shift(shared)).expand_as(found)
    assert relative_error(found, expected) < DERIVATIVE
    wrong = (filters(shared, level, -gamma if gamma else 0.5) @ shift(shared)).expand_as(found)
    assert relative_error(found, wrong) > 1e-4  # (1 - s)^2 is 2.5e-3 at the noisiest level


@pytest.mark.parametrize("gamma", [-1.0, 0.3, 1.0])
def test_gamma_family_on_a_mixture_uses_the_source_jacobian(mixture: GaussianMixtureBackbone, gamma: float) -> None:
    latent, target, s, seed = mixture_latent(mixture), mixture.embed(["c"]), 0.55, 4
    found = identify(latent, target, HSDS(gamma=gamma, levels=(s, s), steps=1, noises=3), seed=seed).z

    def expected(jacobian_text: Condition) -> Tensor:
        total = torch.zeros_like(latent.z)
        for noise in noise_of(latent, seed=seed, index=0, noises=3):
            x_s = (1 - s) * latent.z + s * noise
            r = clean(latent, x_s, s, target) - clean(latent, x_s, s, latent.condition)
            jacobian = mixture.at(x_s, levels_of(x_s, s), jacobian_text).jacobian
            product = torch.einsum("bij,bj->bi", jacobian, r.flatten(1)).reshape(r.shape)
            total = total + r + gamma * (1 - s) * (r - s * product)
        return total / 3

    assert relative_error(found, expected(latent.condition)) < DERIVATIVE
    assert relative_error(found, expected(target)) > 1e-3


def test_gamma_minus_one_is_the_hessian_of_the_source(mixture: GaussianMixtureBackbone) -> None:
    latent, target, s = mixture_latent(mixture), mixture.embed(["c"]), 0.4
    config = HSDS(gamma=-1.0, levels=(s, s), steps=1)
    found = identify(latent, target, config, seed=0).z
    plain = identify(latent, target, dataclasses.replace(config, gamma=0.0), seed=0).z
    x_s = (1 - s) * latent.z + s * noise_of(latent, seed=0, index=0)
    hessian = -mixture.at(x_s, levels_of(x_s, s), latent.condition).hessian
    expected = s**2 * torch.einsum("bij,bj->bi", hessian, plain.flatten(1)).reshape(plain.shape)
    assert relative_error(found, expected) < DERIVATIVE


def test_t3_annealed_search_is_delta_denoising(mixture: GaussianMixtureBackbone) -> None:
    """T3: ``e_hat(y_s) - e_hat(x_s) = (1-s)(dv + y - x)``, so a step is ``-s / (1-s)`` of the DDS gradient."""
    latent, target, seed = mixture_latent(mixture), mixture.embed(["c"]), 2
    config = HSDS(levels=(0.9, 0.3), steps=5, step_size=0.4)
    found = identify(latent, target, config, seed=seed).z

    def walk(*, pull: bool) -> Tensor:
        y = latent.z.clone()
        for index in range(5):
            s = 0.9 - 0.15 * index
            noise = noise_of(latent, seed=seed, index=index)
            x_s, y_s = (1 - s) * latent.z + s * noise, (1 - s) * y + s * noise
            e_target = (y_s - (1 - s) * clean(latent, y_s, s, target)) / s
            e_source = (x_s - (1 - s) * clean(latent, x_s, s, latent.condition)) / s
            step = -s / (1 - s) * (e_target - e_source)
            y = y + 0.4 * (step if pull else step + s * (y - latent.z))
        return y - latent.z

    assert relative_error(found, walk(pull=True)) < 1e-11  # five steps of 1e-12
    assert relative_error(found, walk(pull=False)) > 1e-2


@pytest.mark.parametrize("gamma", [-1.0, 0.0, 1.0])
def test_annealed_search_with_shared_covariance_has_a_closed_form(
    shared: GaussianMixtureBackbone, gamma: float
) -> None:
    latent = mixture_latent(shared, condition=shared.only(0))
    config = HSDS(gamma=gamma, levels=(0.9, 0.3), steps=7, step_size=0.3)
    found = identify(latent, shared.only(1), config, seed=0).z
    rest = shift(shared)
    for s in torch.linspace(0.9, 0.3, 7, dtype=torch.float64).tolist():
        rest = rest - 0.3 * filters(shared, s, gamma) @ rest
    assert relative_error(found, (shift(shared) - rest).expand_as(found)) < DERIVATIVE


def test_annealed_search_converges_to_the_counterfactual(shared: GaussianMixtureBackbone) -> None:
    latent = mixture_latent(shared, condition=shared.only(0))
    truth = shared.counterfactual(latent.z, 0, 1) - latent.z
    errors = [
        relative_error(identify(latent, shared.only(1), HSDS(steps=steps), seed=0).z, truth) for steps in (4, 16, 64)
    ]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 1e-2


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (HSDS(), 32),
        (HSDS(steps=1, noises=4), 8),
        (HSDS(steps=1, noises=4, gamma=1.0), 16),
        (HSDS(steps=3, noises=2, guidance=2.0), 24),
        (HSDS(steps=3, noises=2, guidance=2.0, gamma=-1.0), 36),
    ],
)
def test_t12_costs_what_the_table_says(mixture: GaussianMixtureBackbone, config: HSDS, expected: int) -> None:
    latent = mixture_latent(mixture)
    identify(latent, mixture.embed(["b"]), config, seed=0)
    assert mixture.evaluations == expected * len(latent)
    assert config.evaluations() == expected


def test_calls_are_batched_over_noises_and_cut_into_chunks(
    mixture: GaussianMixtureBackbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    latent, target = mixture_latent(mixture), mixture.embed(["c"])
    config = HSDS(gamma=0.5, levels=(0.6, 0.6), steps=1, noises=4)
    sizes: list[int] = []
    velocity = mixture.velocity

    def counted(z: Tensor, s: Tensor, condition: Condition) -> Tensor:
        sizes.append(len(z))
        return velocity(z, s, condition)

    monkeypatch.setattr(mixture, "velocity", counted)
    whole = identify(latent, target, config, seed=0).z
    assert sizes == [24, 12]
    monkeypatch.setattr(hsds, "ROWS", 5)
    cut = identify(latent, target, config, seed=0).z
    assert max(sizes[2:]) == 5
    assert relative_error(cut, whole) < EXACT


def test_guidance_applies_to_both_branches_and_not_to_the_jacobian(mixture: GaussianMixtureBackbone) -> None:
    latent, target, s, w = mixture_latent(mixture), mixture.embed(["c"]), 0.5, 3.0
    found = identify(latent, target, HSDS(levels=(s, s), steps=1, guidance=w, gamma=1.0), seed=0).z
    x_s = (1 - s) * latent.z + s * noise_of(latent, seed=0, index=0)
    r = w * (clean(latent, x_s, s, target) - clean(latent, x_s, s, latent.condition))  # the empty text cancels
    jacobian = mixture.at(x_s, levels_of(x_s, s), latent.condition).jacobian
    product = torch.einsum("bij,bj->bi", jacobian, r.flatten(1)).reshape(r.shape)
    assert relative_error(found, r + (1 - s) * (r - s * product)) < DERIVATIVE


def test_finite_differences_stand_in_for_forward_mode(mixture: GaussianMixtureBackbone) -> None:
    latent, target, config = mixture_latent(mixture), mixture.embed(["c"]), HSDS(gamma=1.0, steps=3)
    forward = identify(latent, target, config, seed=0).z
    cost = mixture.evaluations
    mixture.capabilities = dataclasses.replace(mixture.capabilities, derivatives=frozenset())
    differences = identify(latent, target, config, seed=0).z
    assert relative_error(differences, forward) < tolerance("difference", torch.float64)
    assert mixture.evaluations == 2 * cost


def test_t11_neighbours_do_not_matter(mixture: GaussianMixtureBackbone) -> None:
    latent, target, config = mixture_latent(mixture), mixture.embed(["c"]), HSDS(gamma=0.5, steps=4, noises=2)
    together = identify(latent, target, config, seed=0)
    alone = dataclasses.replace(latent, z=latent.z[1:2], condition=latent.condition[1:2], captions=("a",))
    assert relative_error(identify(alone, target, config, seed=0).z, together.z[1:2]) < EXACT
    assert not torch.equal(identify(latent, target, config, seed=1).z, together.z)


def test_equal_texts_give_no_direction(mixture: GaussianMixtureBackbone) -> None:
    latent = mixture_latent(mixture)
    direction = identify(latent, latent.condition, HSDS(gamma=1.0), seed=0)
    assert float(direction.z.abs().max()) < 1e-13
    assert not direction.condition.tokens.any()


def test_the_direction_says_where_it_comes_from(mixture: GaussianMixtureBackbone) -> None:
    latent, target = mixture_latent(mixture), mixture.embed(["c"])
    seen: list[tuple[str, int, int]] = []
    direction = identify(latent, target, HSDS(steps=2), seed=9, progress=lambda *step: seen.append(step))
    assert seen == [("identify", 1, 2), ("identify", 2, 2)]
    assert direction.level == 0.95
    assert direction.fingerprint == mixture.fingerprint
    assert direction.settings["seed"] == 9
    assert direction.settings["levels"] == [0.95, 0.3]
    assert direction.z.dtype == latent.z.dtype
    assert torch.equal((direction.condition + latent.condition).tokens, target.expand(3).tokens)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("gamma", 1.5),
        ("gamma", float("nan")),
        ("levels", (0.3, 0.9)),
        ("levels", (0.9, 0.0)),
        ("steps", 0),
        ("noises", 0),
        ("step_size", 0.0),
        ("guidance", float("inf")),
    ],
)
def test_refuses_settings_that_make_no_sense(field: str, value: object) -> None:
    with pytest.raises(ConfigError, match="expected"):
        HSDS(**{field: value})


def test_refuses_targets_that_do_not_fit(mixture: GaussianMixtureBackbone) -> None:
    with pytest.raises(ShapeError, match="one text or one a picture"):
        identify(mixture_latent(mixture), mixture.embed(["b", "c"]), HSDS(), seed=0)
