"""Moving latents by a recipe, the one road of every edit: towards a text, or along directions."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.console import Progress
from latentedit.core.errors import ConfigError, ShapeError, explaining, warn
from latentedit.core.recipe import Recipe
from latentedit.core.setting import Combine, from_plain
from latentedit.editors.base import (
    Editor,
    StrengthResult,
    check_moves_along,
    check_steps,
    clamped_notes,
    editor_of,
    kind_of,
    resolve,
)
from latentedit.editors.edit import Latents
from latentedit.editors.eim import EIM, Arm, Slider, default_manipulation
from latentedit.editors.refinement import Refinement, refined_steps
from latentedit.encoding.joint import JointLatent
from latentedit.identification.composition import compose, cross_talk, transferred
from latentedit.identification.direction import Direction, is_unconditional
from latentedit.identification.hsds import HSDS
from latentedit.identification.locality import local_change
from latentedit.models.base import Backbone
from latentedit.models.model_settings import ModelSettings
from latentedit.numerics.condition import Condition
from latentedit.numerics.flow import LevelGrid
from latentedit.numerics.progress import Estimating, LatentProgress
from latentedit.numerics.rng import Seed

SEARCHED, TEXT_ALONE = "hsds", "text difference"  # methods whose directions can be identified again from two captions
_ARM_SETTINGS = ("arm", "level", "steps")  # settings of `EIM` for how a direction moves an image
_ROUNDING = 1e-9  # strengths that add up to one may fall short of it by less than this


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Aim:
    """A target text: its captions, one per image and none where a host has none, and what the model reads."""

    condition: Condition
    captions: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Applied:
    """A direction that was applied: as found or given, as it applies to these images, and at which share."""

    direction: Direction
    part: Direction
    share: float

    def found_on(self, latent: JointLatent, index: int) -> bool:
        """Whether it was identified on this very image, as encoded here, from its caption to another one."""
        row = self.direction.row(index)
        return (
            row.method in (SEARCHED, TEXT_ALONE)
            and row.images == latent.images[index : index + 1]
            and row.source_captions == (latent.captions[index],)
            and (any(row.target_captions) or not latent.frames)
        )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Moved:
    """Latents after an edit, to be judged and decoded.

    Args:
        recipe: what was done, with nothing left open.
        steps: one per strength, each of all images.
        target: the condition of the full change.
        evaluations: of one image at each strength, from nothing.
        seed: of all noise.
        applied: the directions; empty for editors without them.
        cross_talk: of several directions; a single matrix is that of all images.
        parts: what each of several directions adds to the clean latents at strength 1.
        calibrated: the search had the settings of the model's calibration.
    """

    recipe: Recipe
    steps: Sequence[StrengthResult]
    target: Condition
    evaluations: Sequence[int]
    seed: Seed = 0
    applied: Sequence[Applied] = ()
    cross_talk: Float[Tensor, "b k k"] | None = None
    parts: Sequence[Float[Tensor, "_ *latent"]] = ()
    calibrated: bool = False


class Sliders:
    """The latest slider along directions of some images, for each arm, level and steps: further strengths cost less.

    Args:
        made: where they are kept, such as `JointLatent.sliders`.
    """

    def __init__(self, made: dict[tuple[Arm, float, int], tuple[object, list[Direction], Slider]]) -> None:
        self._made = made

    def of(
        self,
        editor: EIM,
        latent: JointLatent,
        directions: Sequence[Direction],
        shares: Sequence[float],
        combine: Combine,
        seed: Seed,
    ) -> tuple[list[Direction], Slider]:
        """The directions as they apply to these images, and the slider along them; an earlier one if it is the same."""
        settings = (editor.arm, editor.level, editor.steps)
        guidance = latent.condition.image_guidance
        key = (tuple(directions), tuple(shares), combine, latent.backbone.fingerprint, guidance, seed)
        earlier, parts, slider = self._made.get(settings, (None, [], None))
        if slider is not None and earlier == key:
            return parts, slider
        signed = [d if share >= 0 else -d for d, share in zip(directions, shares, strict=True)]
        parts = [transferred(direction, latent) for direction in signed]
        single = len(parts) == 1 and abs(shares[0]) == 1
        total = parts[0] if single else compose(parts, [abs(share) for share in shares], combine)
        # The way back restores what a caption says, so an unconditional direction is applied without a caption too.
        shown = latent.with_prompt("") if is_unconditional(directions) else latent
        slider = editor.slider(shown, total, seed=seed)
        self._made[settings] = key, parts, slider
        return parts, slider


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Move:
    """One edit of some images by a recipe; every edit goes through `run`.

    Args:
        recipe: from `editors.base.resolve`.
        latent: the images.
        strengths: of the whole edit; without ``shares``, of the single direction or of each.
        shares: of the directions: one for all, or one each.
        seed: random seed: one, whose noise all images share, or one per image.
        sliders: what earlier moves of these images computed.
        progress: called with what is done, the steps done and their number.
    """

    recipe: Recipe
    latent: JointLatent
    strengths: Sequence[float]
    shares: Sequence[float] | None = None
    seed: Seed = 0
    sliders: Sliders = dataclasses.field(default_factory=lambda: Sliders({}))
    progress: Progress | None = None

    @property
    def along(self) -> bool:
        """Whether texts become directions, one for each change where each has a strength of its own."""
        return editor_of(self.recipe).moves_along and any(self.strengths)

    def run(self, aims: Sequence[Aim], directions: Sequence[Direction] = ()) -> Moved:
        """Move the images.

        Args:
            aims: the target text, or several changes, each with its own direction.
            directions: instead of ``aims``.

        Raises:
            ConfigError: a strength that the editor refuses, directions of another model, or that contradict each other;
                image guidance of images that the model does not see.
            ShapeError: directions that do not fit together, or do not fit the images.
        """
        move, weight = self, self.recipe.image_guidance
        guided = weight != 1 and self.latent.condition.image_guidance is None
        if guided:
            aims = [dataclasses.replace(aim, condition=aim.condition.guided_by_image(weight)) for aim in aims]
            move = dataclasses.replace(self, latent=self.latent.guided_by_image(weight))
        if directions or self.along:
            moved = move._along(aims, directions)
        else:
            moved = move._towards(aims[0], self.strengths[:1] if self.shares is None else self.strengths)
        # An option on the moved latents acts here, once: on `steps` and `parts` of every edit.
        return dataclasses.replace(moved, target=moved.target.guided_by_image(None)) if guided else moved

    def _towards(self, aim: Aim, strengths: Sequence[float]) -> Moved:
        """Move the images towards a text by any editor, refined where a strength is positive."""
        latent, editor, target = self.latent, editor_of(self.recipe), aim.condition.expand(len(self.latent))
        recipe = self.recipe.plain(refine=editor.refines(self.recipe.refine))
        how: dict[str, Any] = {"seed": self.seed, "progress": self.progress}
        if aim.captions:
            editor = editor.for_captions(latent.captions, aim.captions)
        refine = recipe.refine and any(strength > 0 for strength in strengths)
        more = [1.0] if refine and 1 not in strengths else []  # the strength that is refined
        # Apart, since what strengths share is not in the evaluations of each.
        steps, extra = editor.edit(latent, target, strengths, **how), 0
        steps += editor.edit(latent, target, more, **how) if more else []
        if refine:
            steps = refined_steps(latent, target, steps, **how)[: len(strengths)]
            extra = Refinement().evaluations * target.evaluations + (editor.evaluations(latent) if more else 0)
        spent = [editor.evaluations(latent, strength=one) + (extra if one > 0 else 0) for one in strengths]
        return Moved(recipe=recipe, steps=steps, target=target, evaluations=spent, seed=self.seed)

    def _along(self, aims: Sequence[Aim], given: Sequence[Direction]) -> Moved:
        """Move the images along directions, given ones or one identified for each text, by `EIM`."""
        latent, recipe, editor = self.latent, self.recipe, cast("EIM", editor_of(self.recipe))
        # Combining directions needs their image parts.
        finder = dataclasses.replace(editor, arm="image") if len(aims) > 1 else editor
        refine, directions = finder.refines(bool(recipe.refine) if given else recipe.refine), list(given)
        for aim in () if given else aims:
            found = finder.direction(latent, aim.condition, seed=self.seed, refine=refine, progress=self.progress)
            directions.append(dataclasses.replace(found, target_captions=aim.captions))
        shares, strengths = self.shares, self.strengths
        if shares is None:
            shares, strengths = _own_shares(latent, directions, strengths)
        if len(shares) not in (1, len(directions)):
            raise ConfigError("in a sweep, several changes are one direction. Give one `strength` for all")
        shares = list(shares) * (len(directions) // len(shares))
        seed = seed_of(given[0].settings) if given else self.seed
        arm = {name: getattr(editor, name) for name in _ARM_SETTINGS if name in recipe.settings}
        editor = default_manipulation(latent, directions, arm)
        parts, slider = self.sliders.of(editor, latent, directions, shares, recipe.combine, seed)
        slider.progress = self.progress
        applied = [Applied(direction=d, part=p, share=s) for d, p, s in zip(directions, parts, shares, strict=True)]
        several, searched = len(applied) > 1, [one for one in applied if one.direction.method == SEARCHED]
        calibrated = ModelSettings.of(latent.backbone).calibrated
        searches = [search_of(one.direction.settings) for one in searched]
        branches, price = latent.backbone.capabilities.branches, latent.condition.evaluations
        spent = [
            price * (search.evaluations(guided=branches(search.guidance)) + (Refinement().evaluations if refine else 0))
            for one, search in zip(searched, searches, strict=True)
            if one.found_on(latent, 0)
        ]
        return Moved(
            recipe=recipe.plain(method=editor, refine=refine),
            steps=slider.edit(strengths),
            target=latent.condition + slider.direction.condition.expand(len(latent)),
            evaluations=[sum(spent) + slider.evaluations(strength) for strength in strengths],
            seed=seed,
            applied=applied,
            cross_talk=cross_talk(parts) if several else None,
            parts=[abs(one.share) * one.part.z for one in applied if several and editor.arm == "image" and one.share],
            calibrated=calibrated is not None and EIM.from_dict(calibrated).search in searches,
        )


def _own_shares(
    latent: JointLatent, directions: Sequence[Direction], strengths: Sequence[float]
) -> tuple[Sequence[float], list[float]]:
    """The share of each direction, and the strength of the whole edit."""
    if len(directions) > 1:
        return strengths, [1.0]
    (direction,), strength = directions, float(strengths[0])
    captioned = direction.target_captions == latent.captions
    if strength < 0 and (captioned or _strength_before(latent, direction) >= -strength - _ROUNDING):
        return [-1.0], [-strength]  # undoes an earlier change: the reverse direction, forwards
    return [1.0], [strength]


def _strength_before(latent: JointLatent, direction: Direction) -> float:
    """The total strength at which a direction was applied in the edits that led to this latent."""
    total, record = 0.0, latent.provenance
    while record is not None:
        strengths = (row.strength for row in record.directions if row.fingerprint == direction.fingerprint)
        total, record = total + record.strengths[0] * sum(strengths), record.before
    return total


def search_of(settings: Mapping[str, Any]) -> HSDS:
    """The search in a direction's settings, which may come from a file."""
    try:
        return from_plain(HSDS, {name: value for name, value in settings.items() if name != "seed"})
    except (ConfigError, TypeError, KeyError, IndexError) as error:
        raise ConfigError(f"the search of the direction has unknown settings: {error}. Identify it again") from error


def seed_of(settings: Mapping[str, Any]) -> int:
    """The seed in a direction's settings; 0 if there is none."""
    seed = settings.get("seed", 0)
    if not isinstance(seed, int) or isinstance(seed, bool):
        raise ConfigError(f"the seed of the direction must be an integer; got {seed!r}. Identify it again")
    return seed


@explaining
@torch.no_grad()
def edit_latent(
    backbone: Backbone,
    z: Latents,
    source: Condition,
    target: Condition | Direction,
    strength: float | Sequence[float] = 1.0,
    editor: str | Editor | None = None,
    *,
    levels: LevelGrid | None = None,
    seed: Seed = 0,
    auto_mask: bool | None = None,
    refine: bool | None = None,
    progress: LatentProgress | None = None,
) -> list[StrengthResult]:
    """Edit clean latents from one condition to another, or along a direction: tensors in, tensors out.

    It is for hosts with images, texts and networks of their own, and for models without images.

    An edit of images does two things more, with decoded pixels: it makes the automatic mask from these, not from
    latents, and drops what the codec lost (`composed_change`).

    Args:
        backbone: the model, such as a `CallableBackbone`.
        z: clean latents, ``[b, *latent]``.
        source: what they show, one condition or one per latent.
        target: what the result should show, likewise; or a direction of `identify` or `discover`, which `EIM` follows.
        strength: 0 is ``z`` itself, 1 the full change; several share what they have in common.
        editor: an editor or its name; by default that of the model.
        levels: used as they are, in place of the model's grid and the editor's ``level`` and ``steps``; the search of
            `EIM` has its own.
        seed: random seed: one, whose noise all latents share, or one per latent.
        auto_mask: keep the change to where it is strong; by default as the editor does for images.
        refine: redraw the core of the change (`Refinement`); by default as the editor does for images.
        progress: called with a name, the steps done, their number, and an estimate of the edited latents, by editors
            along FlowEdit's path and searches; else ``z``.

    Returns:
        One result per strength, in their order.

    Raises:
        ConfigError: a strength that is not a finite number, or that the editor refuses; arguments of other kinds.
        ModelError: a result that is not finite.
        RegistryError: an unknown editor.
        ShapeError: neither one condition nor one per latent; no latents, or of another dtype than the model's.
    """
    _check_tensors(backbone, z, source, target, levels)
    latent = JointLatent(
        backbone=backbone, z=z, condition=source.expand(len(z)), captions=("",) * len(z), levels=levels
    )
    directions = [target] if isinstance(target, Direction) else []
    if isinstance(target, Direction):
        target.check_model(backbone.name, backbone.fingerprint)
        editor = EIM.name if editor is None else editor
        check_moves_along(kind_of(editor))
    recipe = resolve(Recipe(method=editor, auto_mask=auto_mask, refine=refine), backbone)
    if not directions:  # an editor that is made has the model's settings; a found direction moves at its own level
        recipe = recipe.plain(settings=editor_of(recipe).to_dict())
    strengths = [strength] if isinstance(strength, (int, float)) else strength
    report = None if progress is None else Estimating(progress, z)
    with backbone.unchanged():
        edit = Move(recipe=recipe, latent=latent, strengths=strengths, shares=[1.0], seed=seed, progress=report)
        aims = [] if isinstance(target, Direction) else [Aim(condition=target.expand(len(z)))]
        steps = edit.run(aims, directions).steps
    check_steps(steps, backbone.name)
    warn(note for step in steps for index in range(len(z)) for note in clamped_notes(step, index))
    if not recipe.auto_mask:
        return list(steps)
    return [step if step.z is z else dataclasses.replace(step, z=z + local_change(step.z - z)) for step in steps]


def _check_tensors(backbone: Backbone, z: Any, source: Any, target: Any, levels: Any) -> None:
    """Refuse what `edit_latent` cannot take, before anything is evaluated."""
    fits = isinstance(z, Tensor) and z.is_floating_point() and z.ndim > 1 and len(z) > 0
    if not (fits and torch.promote_types(z.dtype, backbone.dtype) == backbone.dtype and bool(z.isfinite().all())):
        given = f"{z.dtype} {list(z.shape)}" if isinstance(z, Tensor) else type(z).__name__
        raise ShapeError(
            f"latents of {backbone.name} are finite numbers of {backbone.dtype}, at least one latent; got {given}"
        )
    backbone.check_shape(z)
    for name, value, kinds in (("source", source, Condition), ("target", target, (Condition, Direction))):
        if not isinstance(value, kinds):
            raise ConfigError(
                f"`{name}` is a condition, not a text; got {value!r:.40}. Give {backbone.name}'s embed([text])"
            )
    if levels is not None and not isinstance(levels, LevelGrid):
        raise ConfigError("`levels` are a LevelGrid of latentedit.numerics, such as model.grid(4)")
