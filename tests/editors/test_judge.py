"""Verdicts on mixtures whose losses have closed forms, and the rules of the judge."""

import dataclasses
import math
from typing import Any
from unittest import mock

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from latentedit.core.errors import ConfigError
from latentedit.editors.judge import Judge, Verdict
from latentedit.encoding.joint import Familiarity, JointLatent, Noised, judging_noise
from latentedit.models.base import Backbone
from latentedit.numerics.condition import Condition
from latentedit.numerics.rng import draw, stream
from tests.editors.colors import COLORS, ColorBackbone
from tests.identification.mixtures import clean_at, mixture_latent
from tests.testing.gaussian_mixture import GaussianMixtureBackbone, example_mixture
from tests.testing.tolerances import relative_error, tolerance

DISTANCE, VARIANCE = 3.0, 0.3


@pytest.fixture
def separated() -> GaussianMixtureBackbone:
    """Two isotropic components, eleven standard deviations from each other, and a word with almost no effect."""
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
    """Latents near the mean of one component, with a caption."""
    mean = backbone.mixture.means[component]
    z = (mean + backbone.draw_clean(backbone.only(component).repeat(count), generator=stream(1, "tests"))) / 2
    return JointLatent(backbone=backbone, z=z, condition=backbone.embed([text]).expand(count), captions=(text,) * count)


def verdicts_for(
    latent: JointLatent, text: str, z: Tensor, *, strength: float = 1.0, judge: Judge | None = None
) -> list[Verdict]:
    target = latent.backbone.embed([text]).expand(len(latent))
    return (judge or Judge()).judge(latent, target, z, strength=strength, seed=0)


@pytest.mark.parametrize("level", [0.3, 0.7, 1.0])
@pytest.mark.parametrize("pairs", [1, 3])
def test_losses_match_closed_forms(level: float, pairs: int) -> None:
    """Posterior means in closed form, for each noise and its negative."""
    backbone = example_mixture(dimension=6, latent=(2, 3))
    latent, target = mixture_latent(backbone), backbone.embed(["a", "b", "c"])
    found = Judge(level=level, pairs=pairs).losses(backbone, latent.z, (latent.condition, target), seed=5)
    noise = [draw((pair + 1, 2, 3), seed=5, purpose="verdict")[pair].double() for pair in range(pairs)]
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
        assert relative_error(row, errors[0]) > 1e-3 or level == 1  # one noise differs, except at s = 1


def test_the_share_under_single_components_has_a_closed_form(separated: GaussianMixtureBackbone) -> None:
    """Under single components of one variance ``x_hat - z = -h (z - mu) + g e`` with ``h = s^2 / c``, so that

    ``margin(z) = h^2 (|z - mu0|^2 - |z - mu1|^2) / d`` after pairing, and its change along ``mu1 - mu0`` is linear: the
    share of ``x + a (mu1 - mu0)`` is ``a |mu1 - mu0|^2 / (|x - mu1|^2 - |x - mu0|^2)``.
    """
    latent = dataclasses.replace(images(separated, "a"), condition=separated.only(0).expand(3))
    gap = separated.mixture.means[1] - separated.mixture.means[0]
    distances = [(latent.z - mean).square().sum(1) for mean in separated.mixture.means]
    for part in (-0.7, 0.3, 1.0):
        z = latent.z + part * gap
        verdicts = Judge(damage=1000.0).judge(latent, separated.only(1).expand(3), z, strength=part, seed=0)
        expected = part * gap.square().sum() / (distances[1] - distances[0])
        assert [verdict.share for verdict in verdicts] == pytest.approx(expected.clamp(0, 1).tolist(), rel=1e-10)
    assert expected.tolist() == pytest.approx([1.0] * 3, abs=0.3)  # exactly 1 for an image at the mean


@pytest.mark.parametrize(
    ("levels", "word"), [((0.0, 1.0), "done"), ((0.2, 0.6), "done"), ((0.98, 0.99), "changed"), ((0.0, 0.3), "changed")]
)
def test_a_model_without_levels_near_the_judges_gets_no_share(levels: tuple[float, float], word: str) -> None:
    """The level was refused after the whole search, and named one that nobody had given."""
    colors = ColorBackbone()
    colors.capabilities = dataclasses.replace(colors.capabilities, s_min=levels[0], s_max=levels[1])
    red, green = (colors.embed([name]) for name in ("red", "green"))
    z = torch.tensor(COLORS["red"])[None, :, None, None].expand(1, 3, 8, 8)
    change = (torch.tensor(COLORS["green"]) - torch.tensor(COLORS["red"]))[None, :, None, None]
    latent = JointLatent(backbone=colors, z=z, condition=red, captions=("red",))
    (verdict,) = Judge(damage=1000.0).judge(latent, green, z + change, strength=1.0, seed=0)
    assert verdict.word == word
    assert (verdict.share is None) == ("no level near 0.7" in verdict.reason) == (word == "changed")


def test_what_is_drawn_faintly_is_not_done() -> None:
    """Independent pixels: the share counts all of the image, the opacity the corner that changes, and its border."""
    colors, judge = ColorBackbone(), Judge(damage=1000.0)
    red, green = (colors.embed([name]) for name in ("red", "green"))
    z = torch.tensor(COLORS["red"])[None, :, None, None].expand(1, 3, 8, 8)
    whole = (torch.tensor(COLORS["green"]) - torch.tensor(COLORS["red"]))[None, :, None, None].expand_as(z)
    latent = JointLatent(backbone=colors, z=z, condition=red, captions=("red",))
    corner = whole.clone()
    corner[..., 4:, :] = corner[..., 4:] = 0
    for change, share in ((whole, 1.0), (corner, 0.25)):
        for part in (0.5, 0.77, 1.0):
            (verdict,) = judge.judge(latent, green, z + part * change, strength=1.0, seed=0)
            assert verdict.share == pytest.approx(part * share, abs=0.02)
            assert verdict.opacity is not None
            assert verdict.opacity == pytest.approx(part * (1 if share == 1 else 0.65), abs=0.05)
            assert (verdict.word == "done") == (share == part == 1)


@pytest.mark.parametrize("strength", [-0.3, 1.0])
def test_latents_far_from_both_components_are_damaged_at_any_strength(
    separated: GaussianMixtureBackbone, strength: float
) -> None:
    latent = images(separated, "a")
    offset = torch.tensor([0.0, 6.0, 0.0, 0.0]).double()
    verdicts = verdicts_for(latent, "b", latent.z + offset, strength=strength)
    for verdict in verdicts:
        assert verdict.word == "damaged"
        assert (verdict.residual or 0) > 2
        assert verdict.remedy == "less strength"
    tolerant = verdicts_for(latent, "b", latent.z + offset, strength=strength, judge=Judge(damage=1000.0))
    assert "damaged" not in {verdict.word for verdict in tolerant}
    unchanged = verdicts_for(latent, "b", latent.z + offset, strength=0.0)
    assert all((one.word, "strength 0" in one.reason) == ("not done", True) for one in unchanged)


@pytest.mark.parametrize(
    ("component", "text", "step", "reason", "remedy"),
    [
        (0, "a unheard", 0.0, "the two captions mean the same", "name what should change"),
        # the image already matches the target, so the share has no meaning
        (1, "b", 0.01, "fits the source image as well", "check the source caption"),
        (0, "a faint", 1e-3, "no effect", "other words, or a higher level"),
        # the image moved, but the model hardly distinguishes the captions
        (0, "a faint", 0.2, "hardly tells the captions apart; the latent moved by 0.10", "look at the image"),
    ],
)
def test_the_reason_for_no_change_is_reported(
    separated: GaussianMixtureBackbone, component: int, text: str, step: float, reason: str, remedy: str
) -> None:
    latent = images(separated, "a", component=component)
    for verdict in verdicts_for(latent, text, latent.z + step * torch.eye(4, dtype=torch.float64)[1]):
        assert verdict.word == "not done"
        assert reason in verdict.reason
        assert remedy in verdict.remedy
        assert verdict.share == (None if step else 0)


Pair = tuple[float, float]  # losses under the source and the target text


def verdict_of(
    before: Pair, after: Pair, strength: float, *, other: tuple[Pair, Pair] | None = None, damage: float = 2.0
) -> Verdict:
    """The verdict from these losses; with ``other`` losses by a second pair of noises, which there are then."""
    backbone = example_mixture(dimension=2)
    source = backbone.embed(["a"])
    latent = JointLatent(backbone=backbone, z=torch.zeros(1, 2).double(), condition=source, captions=("a",))
    pairs = [(before, after)] if other is None else [(before, after), other]
    noises = [judging_noise(latent.z, 0, pair) for pair in range(len(pairs))]

    def scripted(_model: Backbone, points: list[Noised]) -> list[Tensor]:
        errors: list[Tensor] = []
        for z, text, _, noise in points:
            (pair,) = (index for index, drawn in enumerate(noises) if torch.equal(drawn, noise))
            losses = pairs[pair][1 if z.any() else 0]
            errors.append(torch.full_like(z, losses[0 if torch.equal(text.tokens, source.tokens) else 1]))
        return errors

    judge = Judge(pairs=len(pairs), damage=damage)
    with mock.patch("latentedit.editors.judge.denoising_errors", scripted):
        target, z = backbone.embed(["b"]), torch.ones(1, 2).double()
        return judge.judge(latent, target, z, strength=strength, seed=0)[0]


@given(
    own=st.floats(0.1, 10),
    other=st.floats(1.1, 5),
    after=st.tuples(st.floats(0.1, 10), st.floats(0.1, 10)),
    strength=st.floats(-3, 3).filter(lambda value: abs(value) > 1e-3),
)
def test_verdicts_follow_the_rules(own: float, other: float, after: tuple[float, float], strength: float) -> None:
    """Damage comes first, then the share; a share above half of the strength needs no remedy."""
    found = verdict_of((own, own * other), after, strength)
    margin = own - own * other
    share = ((after[0] - after[1]) - margin) / (-2 * margin)
    residual = min(after) / own
    assert found.residual == pytest.approx(residual, rel=1e-12)
    if residual > 2:
        assert (found.word, found.share) == ("damaged", None)
    elif min(abs(share - edge) for edge in (0.05, 0.75, 0.8, 0.5 * strength)) > 1e-9:
        assert found.share == pytest.approx(min(max(share, 0), 1), rel=1e-12, abs=1e-12)
        if strength < 0:
            assert (found.word == "changed") == (share < 0)
            return
        assert found.word == ("done" if share > 0.8 else "partly done" if share > 0.05 else "not done")
        opaque = not 0.75 < share < 0.8  # the opacity is the share here
        assert (found.remedy == "") == (opaque and (share > 0.75 or share > 0.5 * strength))


@pytest.mark.parametrize(
    ("after", "strength", "label", "share"),
    [
        ((1.31, 0.69), 1.0, "done", 0.81),
        ((1.25, 0.75), 1.0, "partly done (75 %)", 0.75),  # translucent
        ((1.2, 0.72), 1.0, "partly done (74 %)", 0.74),
        ((1.0, 1.0), 1.0, "partly done (50 %)", 0.5),
        ((1.0, 1.9), 1.0, "partly done (5 %)", 0.05),
        ((1.0, 1.92), 1.0, "not done", 0.04),
        ((2.9, 0.9), 3.0, "done", 1.0),  # share 1.5: beyond a full edit there is no percentage
        ((0.7, 2.7), -1.0, "changed", 0.0),  # share -0.5: as a negative strength asks
        ((1.5, 0.5), -1.0, "not done", 1.0),  # moved towards the target although the strength is negative
        ((1.0, 1.7), -1.0, "not done", 0.15),
    ],
)
def test_labels_of_example_losses(after: tuple[float, float], strength: float, label: str, share: float | None) -> None:
    """The source's losses are 1 and 2: a margin of -1."""
    found = verdict_of((1.0, 2.0), after, strength)
    assert found.label == label
    assert found.share == pytest.approx(share)


def test_margins_near_zero() -> None:
    """Including a source without loss, which must not divide by zero."""
    for margin, reason in ((-0.02, "fits the source"), (-0.005, "no effect"), (0.0, "no effect"), (0.009, "no effect")):
        assert reason in verdict_of((1.0, 1.0 + margin), (1.0, 1.0 + margin), 1.0).reason
    found = verdict_of((0.0, 1.0), (0.0, 0.0), 1.0)
    assert (found.label, found.residual) == ("partly done (50 %)", 0)
    assert verdict_of((0.0, 1.0), (1.0, 1.0), 1.0).word == "damaged"


@pytest.mark.parametrize("strength", [1.0, -0.3])
def test_equal_texts_are_judged_by_the_size_of_the_move(separated: GaussianMixtureBackbone, strength: float) -> None:
    """The size is the root mean square in the scale of latents, for each image separately."""
    latent = images(separated, "a")
    steps = torch.zeros(3, 4, dtype=torch.float64)
    steps[:, 0] = 2 * torch.tensor([0.04, 0.06, 0.5])  # root mean squares are half of that
    found = Judge(damage=1000.0).judge(latent, latent.condition, latent.z + steps, strength=strength, seed=0)
    assert [verdict.word for verdict in found] == ["not done", "changed", "changed"]
    assert [verdict.remedy == "" for verdict in found] == [False, True, True]
    assert ["moved by 0.06 of its scale" in verdict.reason for verdict in found] == [False, True, False]
    assert all(verdict.share is None and verdict.residual for verdict in found)
    target = separated.embed(["a", "b", "a"])
    found = Judge().judge(latent, target, latent.z + 0.1, strength=1.0, seed=0)
    assert ["of its scale" in verdict.reason for verdict in found] == [True, False, True]


# The source has losses 1 and 2, so that an edit of losses a and b has the share (a - b + 1) / 2.
@pytest.mark.parametrize(
    ("after", "other", "word", "residual"),
    [
        # near "done", both ways; the first for its opacity, which is the share here
        ((1.35, 0.65), (1.2, 0.9), "partly done", 0.775),
        ((1.2, 0.8), (1.6, 0.4), "done", 0.6),
        # near "partly done", both ways
        ((1.0, 1.85), (1.0, 2.0), "not done", 1.0),
        ((1.0, 1.95), (1.0, 1.5), "partly done", 1.0),
        # near damage, both ways
        ((1.9, 1.9), (2.5, 2.5), "damaged", 2.2),
        ((2.1, 2.1), (1.1, 1.1), "partly done", 1.6),
        # sure, so that the other noises are not looked at
        ((1.0, 1.0), (9.0, 9.0), "partly done", 1.0),
        ((1.5, 0.5), (9.0, 9.0), "done", 0.5),
        ((0.8, 2.1), (9.0, 9.0), "not done", 0.8),
        ((2.6, 2.6), (0.5, 0.5), "damaged", 2.6),
    ],
)
def test_other_noises_decide_where_one_pair_might_not(after: Pair, other: Pair, word: str, residual: float) -> None:
    found = verdict_of((1.0, 2.0), after, 1.0, other=((1.0, 2.0), other))
    assert (found.word, found.residual) == (word, pytest.approx(residual))


def test_evaluations_match_the_stated_cost(separated: GaussianMixtureBackbone) -> None:
    """The losses of the images under their captions are kept with the latent, those under a target for a sweep."""
    latent, target, shared = images(separated, "a"), separated.embed(["b"]).expand(3), dict[Any, Tensor]()
    assert Judge(pairs=2).evaluations(latent) == 8
    middle = (latent.z + separated.counterfactual(latent.z, 0, 1)) / 2
    for z, text, seed, strength, cost in (
        (middle, target, 0, 1.0, 8),
        (middle + 0.1, target, 0, 0.5, 4),
        (middle, target, 1, 1.0, 6),  # a sweep shares the losses under the target, of one seed
        (middle, latent.condition, 0, 1.0, 2),  # a direction without words
        (latent.z, target, 0, 1.0, 0),
        (middle, target, 0, 0.0, 0),
    ):
        fresh = {} if seed else shared
        expected = cost + 2 if seed else cost
        with separated.count() as spent:
            found = Judge(damage=1000.0).judge(latent, text, z, strength=strength, seed=seed, shared=fresh)
        assert spent.evaluations == 3 * expected
        alone = dataclasses.replace(latent)
        assert not alone.errors
        assert Judge(damage=1000.0).judge(alone, text, z, strength=strength, seed=seed) == found
    with separated.count() as spent:
        Judge(pairs=2, damage=1000.0).judge(dataclasses.replace(latent), target, latent.z + 0.01, strength=1.0, seed=0)
    assert spent.evaluations == 3 * 16  # the shares of all three are near that of "partly done"


class ReferenceModel(GaussianMixtureBackbone):
    """An editing model: its clean estimate is the reference, clamped to [-1, 1], plus 0.1; "b" flips the sign."""

    def _velocity(self, z: Tensor, s: Tensor, condition: Condition) -> Tensor:
        assert condition.reference is not None
        sign = torch.where(condition.tokens[:, 0, 1:2] > 0, -1, 1)
        return (z - (sign * condition.reference[0]).clamp(-1, 1) - 0.1) / s[:, None]


def test_models_with_references_judge_the_edit_as_its_own_reference(
    separated: GaussianMixtureBackbone,
) -> None:
    """``loss(z, c0)`` with z as reference is 0.01 for any values within [-1, 1]: a residual of 1."""
    words = {"a": torch.tensor([1.0, 0.0]).double(), "b": torch.tensor([0.0, 1.0]).double()}
    model = ReferenceModel(means=separated.mixture.means, covariances=separated.mixture.covariances, words=words)
    model.capabilities = dataclasses.replace(model.capabilities, references=1)
    x = torch.linspace(-0.8, 0.8, 12, dtype=torch.float64).reshape(3, 4)
    condition = dataclasses.replace(model.embed(["a"]).expand(3), reference=(x,))
    latent = JointLatent(backbone=model, z=x, condition=condition, captions=("a",) * 3)
    target, judge = latent.embed_with_references(["b"] * 3), Judge()
    inside, outside = judge.judge(latent, target, -x, strength=1.0, seed=0), -x - torch.tensor([[0.0], [0.0], [1.0]])
    assert [one.word for one in inside] == ["done"] * 3
    assert [one.residual for one in inside] == pytest.approx([1.0] * 3)
    assert float(judge.losses(model, -x, (condition,), seed=0)[0, 0]) > 0.5  # the reference is the source image
    last = judge.judge(latent, target, outside, strength=1.0, seed=0)[2]
    clamped_loss = (outside[2] - outside[2].clamp(-1, 1) - 0.1).square().mean()
    assert (last.word, last.residual) == ("damaged", pytest.approx(float(clamped_loss) / 0.01))
    with model.count() as cost:
        judge.judge(dataclasses.replace(latent), target, -x, strength=1.0, seed=0)
    assert cost.evaluations == 3 * (4 + 4 + 2)
    assert judge.evaluations(latent) == 2


def test_images_are_judged_independently(separated: GaussianMixtureBackbone) -> None:
    latent = images(separated, "a")
    z = torch.stack([latent.z[0], separated.counterfactual(latent.z, 0, 1)[1], latent.z[2] + 10])
    together = verdicts_for(latent, "b", z)
    assert [verdict.word for verdict in together] == ["not done", "done", "damaged"]
    for index, verdict in enumerate(together):
        rows = slice(index, index + 1)
        alone = dataclasses.replace(latent, z=latent.z[rows], condition=latent.condition[rows], captions=("a",))
        (found,) = verdicts_for(alone, "b", z[rows])
        assert found.word == verdict.word
        assert found.residual == pytest.approx(verdict.residual, rel=1e-9)


def test_thresholds_of_the_model_replace_the_defaults() -> None:
    backbone = example_mixture(dimension=2)
    assert Judge.of(backbone) == Judge()
    backbone.defaults = {"judge": {"level": 0.5, "pairs": 2}}
    assert Judge.of(backbone) == Judge(level=0.5, pairs=2)
    backbone.defaults = {"judge": {"levels": 0.5}}
    with pytest.raises(ConfigError):
        Judge.of(backbone)
    wrong: list[dict[str, Any]] = [{"level": 0.0}, {"level": 1.1}, {"pairs": 0}, {"least_share": 0.0}]
    wrong += [{"damage": 1.0}, {"damage": math.nan}]
    for setting in wrong:
        with pytest.raises(ConfigError, match=next(iter(setting))):
            Judge(**setting)


@pytest.mark.parametrize(
    ("state", "label", "share"),
    [("known", "partly done (40 %)", 0.4), ("doubtful", "partly done (40 %)", 0.4), ("unknown", "not known", None)],
)
def test_verdicts_on_unfamiliar_images_have_no_share(state: Any, label: str, share: float | None) -> None:
    verdict = Verdict(word="partly done", share=0.4, residual=1.0)
    familiarity = Familiarity(
        state=state, number=2.0, reason="style", caption_fits=True, caption_read=True, evaluations=6
    )
    found = verdict.on(familiarity)
    assert (found.label, found.share) == (label, share)
    assert ("doubtful" in found.text) is (state == "doubtful")
    damaged = dataclasses.replace(verdict, word="damaged")
    assert damaged.on(familiarity) == damaged


LOST = "outside", "another mask"


@pytest.mark.parametrize(
    ("word", "kept", "visible", "expected"),
    [
        ("done", 1.0, True, "done"),
        ("done", 0.51, True, "done"),
        ("done", 0.49, True, "partly done"),
        ("done, but also", 0.2, True, "partly done"),
        ("changed", 0.2, True, "partly done"),
        ("not done", 0.2, True, "not done"),
        ("damaged", 0.2, True, "damaged"),
        ("not known", 0.2, True, "not known"),
        ("done", 0.04, True, "not done"),
        ("not known", 0.0, False, "not done"),
        ("damaged", 0.0, True, "not done"),
        ("done", -0.5, True, "not done"),
        ("partly done", 1.0, False, "not done"),
        ("changed", 1.0, False, "not done"),
    ],
)
def test_what_an_image_does_not_show_is_not_done(word: Any, kept: float, visible: bool, expected: str) -> None:
    given = Verdict(word=word, share=0.9, reason="as it was", residual=1.0)
    found = given.shown(kept, visible, LOST)
    assert found.word == expected
    assert (found == given) == (kept > (0.05 if word == "not known" else 0.5) and visible)
    assert ("outside" in found.reason) == (kept < 0.5 and found != given)


@pytest.mark.parametrize(
    ("share", "label"), [(0.99, "partly done (99 %)"), (0.999, "partly done"), (1.0, "partly done")]
)
def test_nothing_is_partly_done_by_all_of_it(share: float, label: str) -> None:
    assert Verdict(word="partly done", share=share, residual=1.0).label == label


def test_a_verdict_names_changes_that_it_does_not_cover() -> None:
    given = Verdict(word="done", share=1.0, residual=1.0)
    assert given.without([]) == given
    assert given.without(["a => b"]).word == "done"
    assert "'a => b'" in given.without(["a => b"]).text
