"""Editors by score distillation, against closed forms and the published loops."""

from typing import Any

import pytest
import torch
from torch import Tensor

from latentedit.editors import DDS, SDS, ChordEdit
from latentedit.editors.baselines.score_distillation import random_levels
from latentedit.encoding.joint import JointLatent
from latentedit.numerics.condition import Condition
from latentedit.numerics.rng import draw
from tests.editors.baselines.cases import vp_model
from tests.editors.models import with_members
from tests.identification.mixtures import clean_at, levels_of, mixture_latent
from tests.testing.gaussian_mixture import GaussianMixtureBackbone, example_mixture
from tests.testing.tolerances import relative_error


def test_t9_sds_is_the_rectified_flow_residual_times_one_minus_s(latent: JointLatent) -> None:
    """One step, against ``(1 - s) (v_w - (e - y))`` and against ``e_hat_w - e``, both under guidance."""
    backbone, target = latent.backbone, latent.backbone.embed(["c"])
    (s,) = random_levels(backbone, (0.95, 0.05), 1, seed=4, purpose="sds levels")
    e, s_batch = draw((6,), seed=4, purpose="sds").to(latent.z), levels_of(latent.z, s)
    z = (1 - s) * latent.z + s * e
    empty = backbone.velocity(z, s_batch, backbone.embed([""]))
    guided = empty + 3.0 * (backbone.velocity(z, s_batch, target) - empty)
    found = latent.z - SDS(steps=1, step_size=0.2, guidance=3.0).edit(latent, target, [0.5], seed=4)[0].z
    assert relative_error(found, 0.1 * (1 - s) * (guided - (e - latent.z))) < 1e-12
    assert relative_error(found, 0.1 * (z + (1 - s) * guided - e)) < 1e-12
    assert relative_error(found, 0.1 * (guided - (e - latent.z))) > 1e-2


def noise_estimate(backbone: GaussianMixtureBackbone, z: Tensor, s: float, text: str, guidance: float) -> Tensor:
    """``-s score``, in closed form, under guidance."""
    conditional, empty = (-s * backbone.at(z, levels_of(z, s), backbone.embed([words])).score for words in (text, ""))
    return empty + guidance * (conditional - empty)


@pytest.mark.parametrize("guidance", [1.0, 2.5])
def test_t3_dds_is_the_difference_of_noise_estimates(latent: JointLatent, guidance: float) -> None:
    """The score gives it here, the editor has ``(1 - s) (dv + y - x)``; without ``y - x`` the result differs."""
    mixture = latent.backbone
    y, without_offset = latent.z, latent.z
    for index, s in enumerate(random_levels(mixture, (0.9, 0.1), 6, seed=3, purpose="dds levels")):
        noise = draw((6,), seed=3, purpose="dds", index=index).to(y)
        x_s = (1 - s) * latent.z + s * noise
        source = noise_estimate(mixture, x_s, s, "a", guidance)
        y = y - 0.7 * 0.3 * (noise_estimate(mixture, (1 - s) * y + s * noise, s, "c", guidance) - source)
        estimate = noise_estimate(mixture, (1 - s) * without_offset + s * noise, s, "c", guidance)
        without_offset = without_offset - 0.7 * 0.3 * (estimate - source - (1 - s) * (without_offset - latent.z))
    editor = DDS(levels=(0.9, 0.1), steps=6, step_size=0.3, guidance=guidance)
    found = editor.edit(latent, mixture.embed(["c"]), [0.7], seed=3)[0].z
    # the score divides by s, the velocity does not: a few hundred roundings of float64
    assert relative_error(found, y) < 1e-11
    assert relative_error(found, without_offset) > 1e-2


def test_random_levels_fill_their_range_and_are_clamped_to_the_model() -> None:
    model = vp_model()
    known = model.capabilities
    levels = random_levels(model, (1.0, 0.0), 200, seed=0, purpose="tests")
    assert known.s_min <= min(levels) < 0.06
    assert 0.9 < max(levels) <= known.s_max
    assert levels[:5] == random_levels(model, (1.0, 0.0), 5, seed=0, purpose="tests")
    assert levels[:5] != random_levels(model, (1.0, 0.0), 5, seed=1, purpose="tests")
    assert set(random_levels(model, (0.001, 0.0), 5, seed=0, purpose="tests")) == {known.s_min}


def published(
    backbone: GaussianMixtureBackbone, y: Tensor, levels: list[float], noises: Tensor, scale: float
) -> Tensor:
    """The loop with clean estimates in closed form, noise by noise; every step noises the state again."""
    for s in levels:
        change = torch.zeros_like(y)
        for e in noises:
            first, second = (
                clean_at(backbone, (1 - t) * y + t * e, t, backbone.embed(["c"]))
                - clean_at(backbone, (1 - t) * y + t * e, t, backbone.embed(["a"]))
                for t in (s, s - 0.15)
            )
            change += (0.15 * first + s * second) / (s + 0.15) / len(noises)
        y = y + scale * change
    return y


@pytest.mark.parametrize("strength", [1.0, -0.6])
@pytest.mark.parametrize(("steps", "levels"), [(1, [0.9]), (3, [0.9, 0.6, 0.3])])
def test_chordedit_matches_the_published_loop(steps: int, levels: list[float], strength: float) -> None:
    backbone = example_mixture(dimension=6)
    latent = mixture_latent(backbone)
    noises = draw((2, 6), seed=4, purpose="chordedit").to(latent.z)
    expected = published(backbone, latent.z, levels, noises, 0.7 * strength)
    editor = ChordEdit(steps=steps, step_size=0.7, noises=2)
    found = editor.edit(latent, backbone.embed(["c"]), [strength], seed=4)[0].z
    # the editor's clean estimate is z - s v, the expected one is from the score, which divides by s
    assert relative_error(found, expected) < 1e-11
    assert relative_error(found, published(backbone, latent.z, levels, noises.flip(0) * 0.9, strength)) > 1e-2


def test_chordedit_levels_are_clamped_to_the_range_of_the_model() -> None:
    """The model is evaluated at the ends of its range if the levels are 1 and 0."""
    plain, seen = vp_model(latent=None), list[float]()

    def velocity(model: Any, z: Tensor, s: Tensor, condition: Condition) -> Tensor:
        seen.append(float(s[0]))
        return type(plain).velocity(model, z, s, condition)

    model = with_members(plain, velocity=velocity)
    known, latent = model.capabilities, mixture_latent(model)
    ChordEdit(levels=(1.0, 0.0), steps=2, gap=0.1).edit(latent, model.embed(["c"]), [1.0])
    assert seen[::2] == [known.s_max, known.s_max - 0.1, known.s_min, known.s_min]
