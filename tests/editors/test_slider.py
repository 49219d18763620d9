"""Sliders: arms, strengths, limits and costs, against explicit loops and closed forms."""

import dataclasses
import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from latentedit.core.errors import ConfigError, ModelError, ShapeError
from latentedit.editors.base import StrengthResult
from latentedit.editors.eim import BELOW, BEYOND, WITHIN, Slider
from latentedit.editors.judge import Judge
from latentedit.editors.strength import effect_along
from latentedit.encoding.joint import JointLatent
from latentedit.identification.direction import Direction
from latentedit.identification.hsds import HSDS, find_direction
from latentedit.models.base import Backbone
from latentedit.numerics.condition import Condition
from tests.editors.models import with_members
from tests.identification.mixtures import LinearTextBackbone, levels_of, mixture_latent
from tests.testing.gaussian_mixture import example_mixture
from tests.testing.tolerances import relative_error, tolerance

ARMS = ["image", "text", "joint"]
WALK = 7  # number of steps below level 0.7, if the path has ten

BATCH = tolerance("batch", torch.float64)


@pytest.fixture
def direction(latent: JointLatent) -> Direction:
    return find_direction(latent, latent.backbone.embed(["c"]), HSDS(steps=4), seed=0)


@pytest.fixture
def affine() -> JointLatent:
    """A network that is affine in latent and text, so every arm is affine in its scale and a scale is its effect."""
    return mixture_latent(LinearTextBackbone(example_mixture(dimension=6, shared_covariance=True).mixture))


def slider_of(latent: JointLatent, direction: Direction, arm: str, judge: Judge | None = None, **more: int) -> Slider:
    """A slider of ten steps, seven of them below its level 0.7."""
    which: Any = arm
    return Slider(latent=latent, direction=direction, arm=which, level=0.7, steps=10, judge=judge or Judge(), **more)


def searched_slider(latent: JointLatent, arm: str, judge: Judge | None = None) -> Slider:
    target = latent.backbone.embed(["c"])
    return slider_of(latent, find_direction(latent, target, HSDS(steps=4), seed=0), arm, judge)


def effects_of(slider: Slider, moved: StrengthResult) -> Tensor:
    """The share of the whole change that each image makes."""
    z = slider.latent.z
    return effect_along((moved.z - z)[None], slider.move(scales_for(slider.latent, 1.0))[0] - z)[0]


def scales_for(latent: JointLatent, *scales: float) -> Tensor:
    return torch.tensor(scales, dtype=torch.float64)[:, None].expand(-1, len(latent))


def test_the_image_arm_adds_the_direction_and_evaluates_nothing(latent: JointLatent, direction: Direction) -> None:
    with latent.backbone.count() as cost:
        slider = slider_of(latent, direction, "image")
        moved = slider.move(scales_for(latent, -1.7, 0.4))
        assert torch.equal(moved, torch.stack([latent.z - 1.7 * direction.z, latent.z + 0.4 * direction.z]))
    assert cost.evaluations == 0


@pytest.mark.parametrize("arm", ["text", "joint"])
def test_text_and_joint_arms_match_explicit_loops(latent: JointLatent, direction: Direction, arm: str) -> None:
    """Euler up, then the recursion of the displacement down, from ``(1 - level) a d``."""
    levels, states, velocities = [0.1 * index for index in range(8)], [latent.z], list[Tensor]()
    v = latent.backbone.velocity
    for low, high in itertools.pairwise(levels):
        velocities.append(v(states[-1], levels_of(latent.z, low), latent.condition))
        states.append(states[-1] + (high - low) * velocities[-1])
    text = latent.condition + -0.8 * direction.condition
    u = 0.3 * -0.8 * direction.z if arm == "joint" else torch.zeros_like(latent.z)
    for index in reversed(range(7)):
        low, high = levels[index : index + 2]
        u = u - (high - low) * (v(states[index] + u, levels_of(latent.z, low), text) - velocities[index])
    found = slider_of(latent, direction, arm).move(scales_for(latent, -0.8))[0]
    assert relative_error(found, latent.z + u) < 1e-12


@pytest.mark.parametrize("arm", ARMS)
def test_images_can_have_individual_scales(latent: JointLatent, direction: Direction, arm: str) -> None:
    scales = torch.tensor([[0.2, -0.5, 1.0], [0.9, 0.0, 2.0]], dtype=torch.float64)
    found = slider_of(latent, direction, arm).move(scales)
    for row, image in itertools.product(range(2), range(3)):
        alone = slider_of(latent, direction, arm).move(scales_for(latent, float(scales[row, image])))
        assert relative_error(found[row, image], alone[0, image]) < BATCH
    one = dataclasses.replace(direction, z=direction.z[:1], condition=direction.condition[:1])
    shared = slider_of(latent, one, arm).move(scales_for(latent, 0.7))[0]
    first = slider_of(latent, direction, arm).move(scales_for(latent, 0.7))[0]
    assert shared.shape == latent.z.shape
    assert relative_error(shared[:1], first[:1]) < BATCH, "one direction for all images"


def test_many_latents_move_in_chunks(
    latent: JointLatent, direction: Direction, requested_rows: Callable[..., list[int]]
) -> None:
    scales = [0.04 * step for step in range(1, 24)]
    alone = torch.cat(
        [slider_of(latent, direction, "joint").move(scales_for(latent, one)) for one in (scales[0], scales[-1])]
    )
    sizes = requested_rows(latent.backbone)
    found = slider_of(latent, direction, "joint").move(scales_for(latent, *scales))
    assert sizes == [3] * WALK + [63] * WALK + [6] * WALK  # 21 scales of three images fill 63 of 64 rows
    assert relative_error(found[[0, -1]], alone) < BATCH
    many, one = latent.repeat(22), dataclasses.replace(direction, z=direction.z[:1], condition=direction.condition[:1])
    sizes.clear()
    slider_of(many, one, "joint").move(scales_for(many, 0.5, 1.0))
    assert sizes == [66] * 3 * WALK, "batches above the limit move together, one scale at a time"


@pytest.mark.parametrize("arm", ARMS)
def test_strength_zero_is_the_image_and_one_the_whole_direction(
    latent: JointLatent, direction: Direction, arm: str
) -> None:
    slider = slider_of(latent, dataclasses.replace(direction, notes=("a note",)), arm)
    unchanged, whole = slider.edit([0.0, 1.0])
    assert unchanged.notes == whole.notes == ("a note",)
    assert unchanged.z is latent.z
    assert torch.equal(whole.z, slider_of(latent, direction, arm).move(scales_for(latent, 1.0))[0])
    assert [unchanged.strength, whole.strength] == [0, 1]
    assert bool(unchanged.limit.isnan().all())
    assert bool(whole.limit.isnan().all())
    with latent.backbone.count() as counted:
        assert slider_of(latent, direction, arm).edit([0.0])[0].z is latent.z
    assert counted.evaluations == 0


@pytest.mark.slow_except("image")
@pytest.mark.parametrize("arm", ARMS)
def test_a_sweep_equals_separate_edits(latent: JointLatent, direction: Direction, arm: str) -> None:
    """In any order, and with a slider that was used before."""
    strengths = [0.5, -0.4, 0.0, 1.3, 1.0, 0.5]
    together = slider_of(latent, direction, arm).edit(strengths)
    reused = slider_of(latent, direction, arm)
    reused.edit([2.0, -2.0])
    assert [moved.strength for moved in together] == strengths
    for moved in together:
        for other in (slider_of(latent, direction, arm).edit([moved.strength])[0], reused.edit([moved.strength])[0]):
            assert relative_error(moved.z, other.z) < 10 * BATCH  # seven steps, at a scale read off a curve
            assert torch.equal(moved.limit.isnan(), other.limit.isnan())


@pytest.mark.parametrize("arm", ARMS)
def test_strength_equals_scale_in_affine_models(affine: JointLatent, arm: str) -> None:
    """For strengths without damage."""
    slider = searched_slider(affine, arm, Judge(damage=1000.0))
    strengths = [-2.3, -0.6, 0.1, 0.35, 0.9, 1.8, 3.0]
    expected = slider.move(scales_for(affine, *strengths))
    for moved, z in zip(slider.edit(strengths), expected, strict=True):
        assert relative_error(moved.z, z) < 1e-9


@pytest.mark.parametrize(("arm", "bound_near_zero"), [("joint", 0.08), ("text", 0.13)])
def test_effects_match_strengths(latent: JointLatent, direction: Direction, arm: str, bound_near_zero: float) -> None:
    """On a mixture, whose response to a text is a sigmoid in the logits, the worst case for six measurements.

    Near the first measured scale, 0.2, and below, the joint arm is within 0.08 and the text arm within 0.13. From 0.25
    on, both are within half of that. Scales used as strengths are off by more than 0.1.
    """
    slider = slider_of(latent, direction, arm)
    strengths = [0.05, 0.1, 0.25, 0.4, 0.6, 0.75, 0.9]
    for moved in slider.edit(strengths):
        bound = bound_near_zero if moved.strength < 0.25 else bound_near_zero / 2
        assert float((effects_of(slider, moved) - moved.strength).abs().max()) < bound
    raw = slider.move(scales_for(latent, *strengths)) - latent.z
    effects = effect_along(raw, slider.move(scales_for(latent, 1.0))[0] - latent.z)
    assert float((effects - torch.tensor(strengths)[:, None]).abs().max()) > 0.1


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ExponentialLoss(Judge):
    """A loss of ``e^(rate |a|)`` at effect a under the source text, and everywhere the same multiple under the target.

    Each image has a rate for either sign.
    """

    x: Tensor
    along: Tensor
    up: Tensor
    down: Tensor
    target: float

    def losses(self, backbone: Backbone, z: Tensor, texts: tuple[Condition, Condition], *, seed: int) -> Tensor:
        effect = effect_along((z - self.x)[None], self.along)[0]
        loss = (torch.where(effect > 0, self.up, self.down) * effect.abs()).exp()
        return torch.stack([loss, self.target * loss])


def slider_with_limits(
    latent: JointLatent, arm: str, up: list[float], down: list[float], *, damage: float = 2.0, target: float = 3.0
) -> Slider:
    """Limits where the residual, ``e^(rate a)`` times the target's multiple if below 1, is 0.9 of the damage."""
    free = searched_slider(latent, arm)
    whole = free.move(scales_for(latent, 1.0))[0] - latent.z
    rates = [
        torch.tensor([math.log(0.9 * damage / min(1.0, target)) / limit for limit in limits], dtype=torch.float64)
        for limits in (up, down)
    ]
    judge = ExponentialLoss(x=latent.z, along=whole, up=rates[0], down=rates[1], damage=damage, target=target)
    return dataclasses.replace(free, judge=judge)


@pytest.mark.parametrize(
    ("arm", "damage", "target"), [("image", 1.5, 3.0), ("text", 2.0, 3.0), ("joint", 6.0, 3.0), ("image", 2.0, 0.5)]
)
def test_strengths_are_clamped_where_the_residual_crosses_the_limit(
    affine: JointLatent, arm: str, damage: float, target: float
) -> None:
    """The logarithm of the residual is linear here, so the crossings are found exactly.

    The residual is the lower loss relative to the source's loss under its own text, even if the target's text has half
    of that loss at the source.
    """
    down = [0.3, 0.9, 2.2] if target > 1 else [1.0, 1.0, 2.2]
    slider = slider_with_limits(affine, arm, up=[1.1, 1.7, 2.6], down=down, damage=damage, target=target)
    for strength, limits in ((9.0, [1.1, 1.7, 2.6]), (-9.0, [-limit for limit in down])):
        moved = slider.edit([strength])[0]
        assert moved.limit.tolist() == pytest.approx(limits, abs=1e-9)
        expected = slider.move(torch.tensor([limits], dtype=torch.float64))[0]
        assert relative_error(moved.z, expected) < 1e-9
        assert moved.strength == strength


@pytest.mark.parametrize("arm", ["image", "joint"])
@pytest.mark.parametrize(
    ("up", "down", "requested", "limits", "effects"),
    [
        ([1.1, 1.7, 2.6], [0.3, 0.9, 2.2], 1.5, None, [1.1, 1.5, 1.5]),  # only what is beyond its own limit
        ([1.1, 1.7, 2.6], [0.3, 0.9, 2.2], -0.6, None, [-0.3, -0.6, -0.6]),
        ([50.0, 3.5, 2.9], [50.0, 3.5, 2.9], 8.0, [3.0, 3.0, 2.9], None),  # the range of tried scales
        ([50.0, 3.5, 2.9], [50.0, 3.5, 2.9], -8.0, [-3.0, -3.0, -2.9], None),
        ([0.5, 0.99, 1.01], [1.0, 1.0, 1.0], 1.8, [1.0, 1.0, 1.01], [1.0, 1.0, 1.01]),  # 1 itself is never clamped
        ([0.5, 0.99, 1.01], [1.0, 1.0, 1.0], 1.0, None, [1.0, 1.0, 1.0]),
        ([0.5, 0.99, 1.01], [1.0, 1.0, 1.0], 0.8, None, [0.8, 0.8, 0.8]),
    ],
)
def test_only_images_beyond_their_limit_are_clamped(
    affine: JointLatent,
    arm: str,
    up: list[float],
    down: list[float],
    requested: float,
    limits: list[float] | None,
    effects: list[float] | None,
) -> None:
    slider = slider_with_limits(affine, arm, up=up, down=down)
    moved = slider.edit([requested])[0]
    assert limits is None or moved.limit.tolist() == pytest.approx(limits, abs=1e-6)
    assert effects is None or effects_of(slider, moved).tolist() == pytest.approx(effects, abs=1e-6)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SeedRecorder(Judge):
    """Records the seeds of its noises."""

    seeds: list[int] = dataclasses.field(default_factory=list)

    def losses(self, backbone: Backbone, z: Tensor, texts: tuple[Condition, Condition], *, seed: int) -> Tensor:
        self.seeds.append(seed)
        return torch.ones(2, len(z), dtype=torch.float64)


def test_all_losses_use_the_noises_of_the_slider(latent: JointLatent, direction: Direction) -> None:
    """A residual divides losses, so other noises would look like damage."""
    judge = SeedRecorder()
    slider_of(latent, direction, "image", judge, seed=7).edit([2.0, -2.0])
    assert judge.seeds == [7] * (1 + 1 + len(BEYOND) + len(BELOW))


@pytest.mark.parametrize("arm", ARMS)
@pytest.mark.parametrize("strength", [0.0, 0.3, 1.0, 1.7, -0.6])
def test_evaluations_match_the_stated_cost(
    latent: JointLatent, direction: Direction, arm: str, strength: float
) -> None:
    judge = Judge(pairs=2)
    slider = slider_of(latent, direction, arm, judge)
    with latent.backbone.count() as counted:
        slider.edit([strength])
    spent = counted.evaluations / len(latent)
    assert spent == slider.evaluations(strength)
    walks = {0.0: 0, 0.3: 5 + 2, 1.0: 2, 1.7: 9 + 2, -0.6: 10 + 2}[strength]
    judged = {1.7: 5.5, -0.6: 5.5}.get(strength, 0)  # half a judgment: the image itself, under its own text only
    assert spent == judged * 8 + (0 if arm == "image" else walks * WALK)


@pytest.mark.slow_except("0.5-1.0-1-0")
@pytest.mark.parametrize(
    ("first", "second", "walks", "judged"),
    [
        (0.5, 0.3, 1, 0),
        (0.5, 1.0, 1, 0),
        (1.0, 0.5, 6, 0),
        (0.5, 1.5, 5, 5.5),
        (1.5, 2.0, 1, 0),
        (1.5, -0.5, 6, 5),
        (-0.5, 1.5, 5, 5),
        (-0.5, -0.9, 1, 0),
        (0.5, 0.0, 0, 0),
    ],
)
def test_a_second_strength_costs_only_new_measurements(
    latent: JointLatent, direction: Direction, first: float, second: float, walks: int, judged: float
) -> None:
    slider = slider_of(latent, direction, "joint")
    slider.edit([first])
    with latent.backbone.count() as counted:
        slider.edit([second])
    assert counted.evaluations == len(latent) * (walks * WALK + judged * 4)
    assert walks * WALK + judged * 4 < slider.evaluations(second) or second == 0


@pytest.mark.parametrize("arm", ARMS)
def test_a_calibration_measures_the_effect_of_each_scale(latent: JointLatent, direction: Direction, arm: str) -> None:
    """The mean over the images of the share of the whole change, from the clean latents at those scales.

    It costs an inversion, a return for each scale and the judgments; nothing the second time.
    """
    slider = slider_of(latent, direction, arm)
    with latent.backbone.count() as first:
        known = slider.calibration()
    walks, judged = (0 if arm == "image" else len(known.scales)), 1 + len(BEYOND) + len(BELOW)
    assert first.evaluations == len(latent) * (walks * WALK + judged * 4 + 2)
    with latent.backbone.count() as again:
        slider.calibration()
    assert again.evaluations == 0
    assert (known.arm, known.level, known.steps) == (arm, 0.7, 10)
    assert known.scales == (*BELOW, 0.0, *WITHIN, *BEYOND)
    moved = slider_of(latent, direction, arm).move(scales_for(latent, *known.scales)) - latent.z
    whole = moved[known.scales.index(1.0)].flatten(1)
    expected = ((moved.flatten(2) * whole).sum(2) / whole.square().sum(1)).mean(1)
    assert known.effects == pytest.approx(expected.tolist(), rel=1e-9, abs=1e-12)
    assert known.effects[known.scales.index(0.0)] == 0
    assert known.effects[known.scales.index(1.0)] == pytest.approx(1)
    if arm == "image":
        assert known.effects == pytest.approx(known.scales, rel=1e-9, abs=1e-12)
    else:
        assert known.effects != pytest.approx(known.scales, abs=1e-2)


@pytest.mark.parametrize("arm", ARMS)
def test_a_calibration_ends_at_the_nearest_limit_of_its_images(affine: JointLatent, arm: str) -> None:
    """In affine models effects equal scales."""
    known = slider_with_limits(affine, arm, up=[1.1, 1.7, 2.6], down=[0.3, 0.9, 2.2]).calibration()
    assert known.effects == pytest.approx(known.scales, rel=1e-9, abs=1e-9)
    assert known.lowest == pytest.approx(-0.3, abs=1e-9)
    assert known.highest == pytest.approx(1.1, abs=1e-9)
    damaged = slider_with_limits(affine, arm, up=[0.5, 1.7, 2.6], down=[0.3, 0.9, 2.2]).calibration()
    assert damaged.highest == pytest.approx(1, abs=1e-6)


def test_other_models_arms_and_batches_are_rejected(latent: JointLatent, direction: Direction) -> None:
    other_model = dataclasses.replace(direction, model_fingerprint="another")
    with pytest.raises(ConfigError):
        slider_of(latent, other_model, "image")
    with pytest.raises(ConfigError):
        slider_of(latent, direction, "left")
    two = dataclasses.replace(direction, z=direction.z[:2], condition=direction.condition[:2])
    for wrong in (
        two,
        dataclasses.replace(direction, z=direction.z[:2]),
        dataclasses.replace(direction, z=direction.z[:, :5]),
    ):
        for arm in ARMS:
            with pytest.raises(ShapeError):
                slider_of(latent, wrong, arm)


@pytest.mark.parametrize(("arm", "strength"), [("text", 1.0), ("joint", -1.0)])
def test_nan_outputs_raise_a_model_error(latent: JointLatent, direction: Direction, arm: str, strength: float) -> None:
    broken = with_members(latent.backbone, _velocity=lambda _, z, s, condition: torch.full_like(z, torch.nan))
    latent = dataclasses.replace(latent, backbone=broken)
    with pytest.raises(ModelError):
        slider_of(latent, direction, arm).edit([strength])
