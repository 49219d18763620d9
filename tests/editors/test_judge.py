"""Verdicts on mixtures whose losses have a closed form, every word of a judge, and criteria without a right answer."""

import dataclasses
import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.core.errors import ConfigError
from latentedit.core.rng import draw, stream
from latentedit.editors.judge import Judge, Verdict
from latentedit.latents.joint import Familiarity, JointLatent
from latentedit.models.base import Backbone
from latentedit.testing.gaussian_mixture import GaussianMixtureBackbone, example_mixture
from latentedit.testing.tolerances import relative_error, tolerance
from tests.directions.mixtures import clean_at, mixture_latent

DISTANCE, VARIANCE = 3.0, 0.3


@pytest.fixture
def apart() -> GaussianMixtureBackbone:
    """Two round components eleven standard deviations apart, and a word that says almost nothing."""
    means = torch.zeros(2, 4, dtype=torch.float64)
    means[0, 0], means[1, 0] = -DISTANCE, DISTANCE
    covariance = VARIANCE * torch.eye(4, dtype=torch.float64)
    return GaussianMixtureBackbone(
        means=means,
        covariances=torch.stack([covariance, covariance]),
        words={
            "a": torch.tensor([12.0, 0.0]).double(),
            "b": torch.tensor([0.0, 12.0]).double(),
            "faint": torch.tensor([0.0, 1e-4]).double(),
        },
    )


def images(backbone: GaussianMixtureBackbone, text: str, component: int = 0, count: int = 3) -> JointLatent:
    """From the inner half of one component, under a caption."""
    mean = backbone.mixture.means[component]
    z = (mean + backbone.draw_clean(backbone.only(component).repeat(count), generator=stream(1, "tests"))) / 2
    return JointLatent(backbone=backbone, z=z, condition=backbone.embed([text]).expand(count), captions=(text,) * count)


def stated(
    latent: JointLatent, text: str, z: Tensor, *, strength: float = 1.0, judge: Judge | None = None
) -> list[Verdict]:
    target = latent.backbone.embed([text]).expand(len(latent))
    return (judge or Judge()).judge(latent, target, z, strength=strength, seed=0)


@pytest.mark.parametrize("level", [0.3, 0.7, 1.0])
@pytest.mark.parametrize("pairs", [1, 3])
def test_the_losses_written_out(level: float, pairs: int) -> None:
    """Posterior means in closed form, noise by noise, each with its opposite."""
    backbone = example_mixture(dimension=6, latent=(2, 3))
    latent, target = mixture_latent(backbone), backbone.embed(["a", "b", "c"])
    found = Judge(level=level, pairs=pairs).losses(backbone, latent.z, (latent.condition, target), seed=5)
    noise = draw((pairs, 2, 3), seed=5, purpose="verdict").to(torch.float64)
    assert found.shape == (2, 3)
    for row, text in zip(found, (latent.condition, target), strict=True):
        errors = [
            (clean_at(backbone, (1 - level) * latent.z + level * sign * e, level, text) - latent.z)
            .square()
            .mean((1, 2))
            for e in noise
            for sign in (1, -1)
        ]
        assert relative_error(row, torch.stack(errors).mean(0)) < tolerance("velocity", torch.float64)
        assert relative_error(row, errors[0]) > 1e-3 or level == 1  # one noise alone; at s = 1 all noises are one


def test_the_share_of_one_component_in_closed_form(apart: GaussianMixtureBackbone) -> None:
    """Under single components of one variance ``x_hat - z = -h (z - mu) + g e`` with ``h = s^2 / c``, so that

    ``margin(z) = h^2 (|z - mu0|^2 - |z - mu1|^2) / d`` after pairing, and its change along ``mu1 - mu0`` is linear: the
    share of ``x + a (mu1 - mu0)`` is ``a |mu1 - mu0|^2 / (|x - mu1|^2 - |x - mu0|^2)``.
    """
    latent = dataclasses.replace(images(apart, "a"), condition=apart.only(0).expand(3))
    gap = apart.mixture.means[1] - apart.mixture.means[0]
    away = [(latent.z - mean).square().sum(1) for mean in apart.mixture.means]
    for part in (-0.7, 0.3, 1.0):
        z = latent.z + part * gap
        verdicts = Judge(damage=1000.0).judge(latent, apart.only(1).expand(3), z, strength=part, seed=0)
        expected = part * gap.square().sum() / (away[1] - away[0])
        assert [verdict.share for verdict in verdicts] == pytest.approx(expected.clamp(0, 1).tolist(), rel=1e-10)
    assert expected.tolist() == pytest.approx([1.0] * 3, abs=0.3)  # exactly 1 for an image at the mean


@pytest.mark.parametrize("strength", [-0.3, 1.0])
def test_far_from_both_is_damaged_for_any_was_requested(apart: GaussianMixtureBackbone, strength: float) -> None:
    latent = images(apart, "a")
    off = torch.tensor([0.0, 6.0, 0.0, 0.0]).double()
    verdicts = stated(latent, "b", latent.z + off, strength=strength)
    for verdict in verdicts:
        assert verdict.word == "damaged"
        assert verdict.residual > 2
        assert verdict.remedy == "less strength"
    patient = stated(latent, "b", latent.z + off, strength=strength, judge=Judge(damage=1000.0))
    assert "damaged" not in {verdict.word for verdict in patient}
    still = stated(latent, "b", latent.z + off, strength=0.0)
    assert all((one.word, "strength 0" in one.reason) == ("not done", True) for one in still)


@pytest.mark.parametrize(
    ("component", "text", "step", "reason", "remedy"),
    [
        (0, "a unheard", 0.0, "the two captions mean the same", "name what should change"),
        # the image already shows what is asked for; wherever it goes from there, the share means nothing
        (1, "b", 0.01, "fits the source image as well", "check the source caption"),
        (0, "a faint", 1e-3, "no effect", "other words, or a higher level"),
        # the image moved, so that not the text but what the model can tell of it is too little
        (0, "a faint", 0.2, "hardly tells the captions apart; the latent moved by 0.10", "look at the image"),
    ],
)
def test_why_nothing_changed_is_named(
    apart: GaussianMixtureBackbone, component: int, text: str, step: float, reason: str, remedy: str
) -> None:
    latent = images(apart, "a", component=component)
    for verdict in stated(latent, text, latent.z + step * torch.eye(4, dtype=torch.float64)[1]):
        assert verdict.word == "not done"
        assert reason in verdict.reason
        assert remedy in verdict.remedy
        assert verdict.share == (None if step else 0)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scripted(Judge):
    """Losses as given: those of the image itself, and those of anything else."""

    before: tuple[float, float]
    after: tuple[float, float]

    def losses(self, backbone: Backbone, z: Tensor, texts: tuple[Condition, Condition], *, seed: int) -> Tensor:
        found = self.before if not z.any() else self.after
        return torch.tensor(found, dtype=torch.float64)[:, None].expand(2, len(z))


def verdict_of(before: tuple[float, float], after: tuple[float, float], strength: float) -> Verdict:
    backbone = example_mixture(dimension=2)
    latent = JointLatent(
        backbone=backbone, z=torch.zeros(1, 2).double(), condition=backbone.embed(["a"]), captions=("a",)
    )
    judge = Scripted(before=before, after=after)
    return judge.judge(latent, backbone.embed(["b"]), torch.ones(1, 2).double(), strength=strength, seed=0)[0]


@pytest.mark.slow
@given(
    own=st.floats(0.1, 10),
    other=st.floats(1.1, 5),
    after=st.tuples(st.floats(0.1, 10), st.floats(0.1, 10)),
    strength=st.floats(-3, 3).filter(lambda value: abs(value) > 1e-3),
)
def test_the_rules_as_they_are_written(own: float, other: float, after: tuple[float, float], strength: float) -> None:
    """Damage first; then the share alone decides, and half of the strength needs no remedy."""
    found = verdict_of((own, own * other), after, strength)
    margin = own - own * other
    share = ((after[0] - after[1]) - margin) / (-2 * margin)
    residual = min(after) / own
    assert found.residual == pytest.approx(residual, rel=1e-12)
    if residual > 2:
        assert (found.word, found.share) == ("damaged", None)
    elif min(abs(share - edge) for edge in (0.05, 0.75, 0.5 * strength)) > 1e-9:
        assert found.share == pytest.approx(min(max(share, 0), 1), rel=1e-12, abs=1e-12)
        assert found.word == ("done" if share > 0.75 else "partly done" if share > 0.05 else "not done")
        assert (found.remedy == "") == (share > 0.75 or share > 0.5 * strength or strength < 0)


@pytest.mark.parametrize(
    ("after", "strength", "label", "share"),
    [
        ((1.25, 0.75), 1.0, "done", 0.75),
        ((1.2, 0.72), 1.0, "partly done (74 %)", 0.74),
        ((1.0, 1.0), 1.0, "partly done (50 %)", 0.5),
        ((1.0, 1.9), 1.0, "partly done (5 %)", 0.05),
        ((1.0, 1.92), 1.0, "not done", 0.04),
        ((2.9, 0.9), 3.0, "done", 1.0),  # share 1.5: beyond a full edit there is no percentage
        ((0.7, 2.7), -1.0, "not done", 0.0),  # share -0.5
        ((1.5, 0.5), -1.0, "done", 1.0),  # the other way than was asked for, and towards the target
    ],
)
def test_the_scale_by_hand(after: tuple[float, float], strength: float, label: str, share: float | None) -> None:
    """The source's losses are 1 and 2: a margin of -1."""
    found = verdict_of((1.0, 2.0), after, strength)
    assert found.label == label
    assert found.share == pytest.approx(share)


def test_margins_near_nothing() -> None:
    """And a perfect source, which divides by no zero."""
    for margin, reason in ((-0.02, "fits the source"), (-0.005, "no effect"), (0.0, "no effect"), (0.009, "no effect")):
        assert reason in verdict_of((1.0, 1.0 + margin), (1.0, 1.0 + margin), 1.0).reason
    found = verdict_of((0.0, 1.0), (0.0, 0.0), 1.0)
    assert (found.label, found.residual) == ("partly done (50 %)", 0)
    assert verdict_of((0.0, 1.0), (1.0, 1.0), 1.0).word == "damaged"


@pytest.mark.parametrize("strength", [1.0, -0.3])
def test_without_words_what_has_moved_enough_is_changed(apart: GaussianMixtureBackbone, strength: float) -> None:
    """By the root mean square of the move, in the scale of latents; each image by its own texts and its own move."""
    latent = images(apart, "a")
    steps = torch.zeros(3, 4, dtype=torch.float64)
    steps[:, 0] = 2 * torch.tensor([0.04, 0.06, 0.5])  # root mean squares of half of that
    found = Judge(damage=1000.0).judge(latent, latent.condition, latent.z + steps, strength=strength, seed=0)
    assert [verdict.word for verdict in found] == ["not done", "changed", "changed"]
    assert [verdict.remedy == "" for verdict in found] == [False, True, True]
    assert ["moved by 0.06 of its scale" in verdict.reason for verdict in found] == [False, True, False]
    assert all(verdict.share is None and verdict.residual > 0 for verdict in found)
    target = apart.embed(["a", "b", "a"])
    found = Judge().judge(latent, target, latent.z + 0.1, strength=1.0, seed=0)
    assert ["of its scale" in verdict.reason for verdict in found] == [True, False, True]


@pytest.mark.parametrize("pairs", [1, 2])
def test_costs_what_it_states(apart: GaussianMixtureBackbone, pairs: int) -> None:
    latent, judge, target = images(apart, "a"), Judge(pairs=pairs), apart.embed(["b"]).expand(3)
    assert judge.evaluations(latent) == 4 * pairs
    with apart.count() as cost:
        losses = judge.losses(apart, latent.z, (latent.condition, target), seed=0)
    assert cost.evaluations == 3 * 4 * pairs
    with apart.count() as cost:
        moved = judge.judge(latent, target, latent.z + 0.1, strength=1.0, seed=0)
    assert cost.evaluations == 3 * 8 * pairs
    with apart.count() as cost:
        assert judge.judge(latent, target, latent.z + 0.1, strength=1.0, seed=0, before=losses) == moved
    assert cost.evaluations == 3 * 4 * pairs
    with apart.count() as cost:
        judge.judge(latent, target, latent.z, strength=0.0, seed=0, before=losses)
    assert cost.evaluations == 0


class Painter(GaussianMixtureBackbone):
    """Sees an image and paints what it is told, .1 brighter, of values that are at most 1; "b" turns the sign."""

    def _velocity(self, z: Tensor, s: Tensor, condition: Condition) -> Tensor:
        assert condition.reference is not None
        report = torch.where(condition.tokens[:, 0, 1:2] > 0, -1, 1)
        return (z - (report * condition.reference[0]).clamp(-1, 1) - 0.1) / s[:, None]


def test_a_model_that_sees_the_image_is_shown_the_edit_and_instructed_to_change_nothing(
    apart: GaussianMixtureBackbone,
) -> None:
    """loss(z, c0 beside z) is .01 where all values are such as it paints, wherever the image was: a residual of 1."""
    words = {"a": torch.tensor([1.0, 0.0]).double(), "b": torch.tensor([0.0, 1.0]).double()}
    painter = Painter(means=apart.mixture.means, covariances=apart.mixture.covariances, words=words)
    painter.capabilities = dataclasses.replace(painter.capabilities, references=1)
    x = torch.linspace(-0.8, 0.8, 12, dtype=torch.float64).reshape(3, 4)
    condition = dataclasses.replace(painter.embed(["a"]).expand(3), reference=(x,))
    latent = JointLatent(backbone=painter, z=x, condition=condition, captions=("a",) * 3)
    target, judge = latent.embed_with_references(["b"] * 3), Judge()
    known, outside = judge.judge(latent, target, -x, strength=1.0, seed=0), -x - torch.tensor([[0.0], [0.0], [1.0]])
    assert [one.word for one in known] == ["done"] * 3
    assert [one.residual for one in known] == pytest.approx([1.0] * 3)
    assert float(judge.losses(painter, -x, (condition,), seed=0)[0, 0]) > 0.5  # beside the image: no word of the edit
    last = judge.judge(latent, target, outside, strength=1.0, seed=0)[2]
    cut = (outside[2] - outside[2].clamp(-1, 1) - 0.1).square().mean()
    assert (last.word, last.residual) == ("damaged", pytest.approx(float(cut) / 0.01))
    with painter.count() as cost:
        judge.judge(latent, target, -x, strength=1.0, seed=0)
    assert cost.evaluations == 3 * (4 + 4 + 2)
    assert judge.evaluations(latent) == 2


def test_images_are_judged_one_by_one(apart: GaussianMixtureBackbone) -> None:
    latent = images(apart, "a")
    z = torch.stack([latent.z[0], apart.counterfactual(latent.z, 0, 1)[1], latent.z[2] + 10])
    together = stated(latent, "b", z)
    assert [verdict.word for verdict in together] == ["not done", "done", "damaged"]
    for index, verdict in enumerate(together):
        rows = slice(index, index + 1)
        alone = dataclasses.replace(latent, z=latent.z[rows], condition=latent.condition[rows], captions=("a",))
        (found,) = stated(alone, "b", z[rows])
        assert found.word == verdict.word
        assert found.residual == pytest.approx(verdict.residual, rel=1e-9)


def test_the_models_thresholds_come_first() -> None:
    backbone = example_mixture(dimension=2)
    assert Judge.of(backbone) == Judge()
    backbone.defaults = {"judge": {"level": 0.5, "pairs": 2}}
    assert Judge.of(backbone) == Judge(level=0.5, pairs=2)
    backbone.defaults = {"judge": {"levels": 0.5}}
    with pytest.raises(ConfigError):
        Judge.of(backbone)
    wrong: list[dict[str, Any]] = [{"level": 0.0}, {"level": 1.1}, {"pairs": 0}, {"least_share": 0.0}]
    for setting in (*wrong, {"damage": 1.0}, {"damage": math.nan}):
        with pytest.raises(ConfigError, match=next(iter(setting))):
            Judge(**setting)


@pytest.mark.parametrize(
    ("state", "label", "share"),
    [("known", "partly done (40 %)", 0.4), ("doubtful", "partly done (40 %)", 0.4), ("unknown", "not known", None)],
)
def test_nothing_is_measured_of_an_image_that_the_model_does_not_know(
    state: Any, label: str, share: float | None
) -> None:
    verdict = Verdict(word="partly done", share=0.4, residual=1.0)
    familiarity = Familiarity(
        state=state, number=2.0, reason="style", caption_fits=True, caption_read=True, evaluations=6
    )
    found = verdict.on(familiarity)
    assert (found.label, found.share) == (label, share)
    assert ("doubtful" in found.text) is (state == "doubtful")
    damaged = dataclasses.replace(verdict, word="damaged")
    assert damaged.on(familiarity) == damaged
