"""Editors by residuals and by two samples, against closed forms, and the field they ask."""

import itertools

import pytest
import torch
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.core.errors import ConfigError, CoordinateError
from latentedit.core.rng import draw
from latentedit.editors.base import Editor
from latentedit.editors.baselines.chordedit import ChordEdit, clean_difference
from latentedit.editors.baselines.dds import DDS, random_levels
from latentedit.editors.baselines.sdedit import SDEdit
from latentedit.editors.baselines.sds import SDS
from latentedit.editors.baselines.text_field import text_field
from latentedit.editors.baselines.text_steering import TextSteering
from latentedit.latents.joint import JointLatent
from latentedit.models.guidance import GuidedField
from latentedit.testing.gaussian_mixture import GaussianMixtureBackbone, example_mixture
from latentedit.testing.tolerances import relative_error
from tests.directions.mixtures import clean_at, levels_of, mixture_latent
from tests.editors.baselines.vp_models import vp_model


def test_t9_it_is_the_residual_of_rectified_flow_times_one_minus_s(latent: JointLatent) -> None:
    """One step, against ``(1 - s) (v_w - (e - y))`` and against ``e_hat_w - e``, both written out under guidance."""
    backbone, target = latent.backbone, latent.backbone.embed(["c"])
    (s,) = random_levels(backbone, (0.95, 0.05), 1, seed=4, purpose="sds levels")
    e, at = draw((6,), seed=4, purpose="sds").to(latent.z), levels_of(latent.z, s)
    z = (1 - s) * latent.z + s * e
    empty = backbone.velocity(z, at, backbone.embed([""]))
    guided = empty + 3.0 * (backbone.velocity(z, at, target) - empty)
    found = latent.z - SDS(steps=1, step_size=0.2, guidance=3.0).edit(latent, target, [0.5], seed=4)[0].z
    assert relative_error(found, 0.1 * (1 - s) * (guided - (e - latent.z))) < 1e-12
    assert relative_error(found, 0.1 * (z + (1 - s) * guided - e)) < 1e-12
    assert relative_error(found, 0.1 * (guided - (e - latent.z))) > 1e-2


def noise_estimate(backbone: GaussianMixtureBackbone, z: Tensor, s: float, text: str, guidance: float) -> Tensor:
    """``-s score``, in closed form, under guidance."""
    there, empty = (-s * backbone.at(z, levels_of(z, s), backbone.embed([words])).score for words in (text, ""))
    return empty + guidance * (there - empty)


@pytest.mark.parametrize("guidance", [1.0, 2.5])
def test_t3_it_is_the_published_difference_of_noise_estimates(latent: JointLatent, guidance: float) -> None:
    """By the score, where the editor has ``(1 - s) (dv + y - x)``; without ``y - x`` it would be another method."""
    mixture = latent.backbone
    y, other = latent.z, latent.z
    for index, s in enumerate(random_levels(mixture, (0.9, 0.1), 6, seed=3, purpose="dds levels")):
        noise = draw((6,), seed=3, purpose="dds", index=index).to(y)
        x_s = (1 - s) * latent.z + s * noise
        source = noise_estimate(mixture, x_s, s, "a", guidance)
        y = y - 0.7 * 0.3 * (noise_estimate(mixture, (1 - s) * y + s * noise, s, "c", guidance) - source)
        estimate = noise_estimate(mixture, (1 - s) * other + s * noise, s, "c", guidance)
        other = other - 0.7 * 0.3 * (estimate - source - (1 - s) * (other - latent.z))
    editor = DDS(levels=(0.9, 0.1), steps=6, step_size=0.3, guidance=guidance)
    found = editor.edit(latent, mixture.embed(["c"]), [0.7], seed=3)[0].z
    # the score divides by s, the velocity does not: a few hundred roundings of float64
    assert relative_error(found, y) < 1e-11
    assert relative_error(found, other) > 1e-2


def test_levels_fill_their_range_and_are_cut_to_the_models() -> None:
    model = vp_model()
    known = model.capabilities
    levels = random_levels(model, (1.0, 0.0), 200, seed=0, purpose="tests")
    assert known.s_min <= min(levels) < 0.06
    assert 0.9 < max(levels) <= known.s_max
    assert levels[:5] == random_levels(model, (1.0, 0.0), 5, seed=0, purpose="tests")
    assert levels[:5] != random_levels(model, (1.0, 0.0), 5, seed=1, purpose="tests")
    assert set(random_levels(model, (0.001, 0.0), 5, seed=0, purpose="tests")) == {known.s_min}


@pytest.mark.slow
@pytest.mark.parametrize("strength", [0.5, 0.83])
def test_starts_at_the_share_of_its_level_and_follows_the_targets_flow(latent: JointLatent, strength: float) -> None:
    """Under one Gaussian the flow has a closed form; Euler with 400 steps is within a per cent of it."""
    latent = mixture_latent(latent.backbone, condition=latent.backbone.only(0))
    start = 0.8 * strength
    found = SDEdit(level=0.8, steps=400, guidance=1.0).edit(latent, latent.backbone.only(1), [strength], seed=3)[0].z
    noise = draw((6,), seed=3, purpose="sdedit").to(latent.z)
    noisy = (1 - start) * latent.z + start * noise
    assert relative_error(found, latent.backbone.flow_map(noisy, start, 0.0, 1)) < 1e-2
    assert relative_error(found, latent.backbone.flow_map(noisy, start - 0.1, 0.0, 1)) > 2e-2


@pytest.mark.parametrize(
    ("editor", "strength", "problem"),
    [
        (SDS(), -1.0, "sds must be 0 or above"),
        (DDS(), -0.1, "dds must be 0 or above"),
        (SDEdit(level=0.8), -0.1, r"from 0 to 1\.25"),
        (SDEdit(level=0.8), 1.5, r"from 0 to 1\.25"),
    ],
)
def test_strengths_without_a_meaning_are_refused(
    latent: JointLatent, editor: Editor, strength: float, problem: str
) -> None:
    with pytest.raises(ConfigError, match=problem):
        editor.edit(latent, latent.backbone.embed(["c"]), [strength])


@pytest.mark.parametrize("strength", [-0.7, 1.6])
def test_is_the_difference_of_two_samples_from_one_start(latent: JointLatent, strength: float) -> None:
    target = latent.backbone.embed(["c"])
    start = 0.25 * latent.z + 0.75 * draw((6,), seed=2, purpose="text-steering").to(latent.z)

    def sampled(tokens: Tensor) -> Tensor:
        text, z = type(target)(tokens=tokens, pooled=target.pooled), start
        for s, s_next in itertools.pairwise([0.75, 0.6, 0.4, 0.2, 0.0]):
            z = z + (s_next - s) * latent.backbone.velocity(z, levels_of(z, s), text)
        return z

    source = latent.condition.tokens[:1]
    expected = latent.z + sampled(source + strength * (target.tokens - source)) - sampled(source)
    found = TextSteering(level=0.75, steps=5).edit(latent, target, [strength], seed=2)[0].z
    assert relative_error(found, expected) < 1e-12


@pytest.mark.parametrize("guidance", [1.0, 2.5])
@pytest.mark.parametrize("level", [0.0, 0.3, 1.0])
def test_within_the_models_levels_it_is_the_guided_field(guidance: float, level: float) -> None:
    latent = mixture_latent(example_mixture(dimension=6))
    text, s = latent.backbone.embed(["c"]).expand(3), levels_of(latent.z, level)
    expected = GuidedField(backbone=latent.backbone, condition=text, guidance=guidance)(latent.z, s)
    assert torch.equal(text_field(latent, text, guidance=guidance)(latent.z, s), expected)


def test_outside_them_the_nearest_level_is_asked() -> None:
    model = vp_model()
    latent = mixture_latent(model)
    z = draw((3, 2, 3), seed=0, purpose="tests").double()
    field, known = text_field(latent, latent.condition), model.capabilities
    assert 0 < known.s_min < known.s_max < 1
    for outside, nearest in ((0.0, known.s_min), (1.0, known.s_max)):
        with pytest.raises(CoordinateError):
            model.velocity(z, levels_of(z, outside), latent.condition)
        assert torch.equal(field(z, levels_of(z, outside)), model.velocity(z, levels_of(z, nearest), latent.condition))


def published(
    backbone: GaussianMixtureBackbone, y: Tensor, levels: list[float], noises: Tensor, scale: float
) -> Tensor:
    """The loop with clean estimates in closed form, noise by noise; the state is noised anew in every step."""
    for s in levels:
        change = torch.zeros_like(y)
        for e in noises:
            at, below = (
                clean_at(backbone, (1 - t) * y + t * e, t, backbone.embed(["c"]))
                - clean_at(backbone, (1 - t) * y + t * e, t, backbone.embed(["a"]))
                for t in (s, s - 0.15)
            )
            change += (0.15 * at + s * below) / (s + 0.15) / len(noises)
        y = y + scale * change
    return y


@pytest.mark.parametrize("strength", [1.0, -0.6])
@pytest.mark.parametrize(("steps", "levels"), [(1, [0.9]), (3, [0.9, 0.6, 0.3])])
def test_chordedit_is_the_published_loop(steps: int, levels: list[float], strength: float) -> None:
    backbone = example_mixture(dimension=6)
    latent = mixture_latent(backbone)
    noises = draw((2, 6), seed=4, purpose="chordedit").to(latent.z)
    expected = published(backbone, latent.z, levels, noises, 0.7 * strength)
    editor = ChordEdit(steps=steps, step_size=0.7, noises=2)
    found = editor.edit(latent, backbone.embed(["c"]), [strength], seed=4)[0].z
    # the clean estimate is z - s v here, and from the score, which divides by s, there
    assert relative_error(found, expected) < 1e-11
    assert relative_error(found, published(backbone, latent.z, levels, noises.flip(0) * 0.9, strength)) > 1e-2


def test_chordedits_levels_are_cut_to_what_the_model_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked from 1 to 0 with a gap, a model whose levels end before is asked at its own ends."""
    model, seen = vp_model(latent=None), list[float]()
    known, latent = model.capabilities, mixture_latent(model)
    ask = model.velocity

    def velocity(z: Tensor, s: Tensor, condition: Condition) -> Tensor:
        seen.append(float(s[0]))
        return ask(z, s, condition)

    monkeypatch.setattr(model, "velocity", velocity)
    ChordEdit(levels=(1.0, 0.0), steps=2, gap=0.1).edit(latent, model.embed(["c"]), [1.0])
    assert seen[::2] == [known.s_max, known.s_max - 0.1, known.s_min, known.s_min]


def test_the_difference_of_clean_estimates_is_averaged_over_noises(latent: JointLatent) -> None:
    """Each picture's own mean, and the velocity's factor ``-s``."""
    backbone, target = latent.backbone, latent.backbone.embed(["c"]).expand(3)
    noises = draw((4, 6), seed=1, purpose="tests").to(latent.z)
    expected = torch.zeros_like(latent.z)
    for e in noises:
        z = 0.6 * latent.z + 0.4 * e
        at = levels_of(z, 0.4)
        expected -= 0.1 * (backbone.velocity(z, at, target) - backbone.velocity(z, at, latent.condition))
    assert relative_error(clean_difference(latent, target, latent.z, 0.4, noises[:, None]), expected) < 1e-12
