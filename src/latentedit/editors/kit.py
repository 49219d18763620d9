"""What the baselines share: the arguments of one edit, and the base of editors that walk the model's own levels."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Literal, TypeVar

from jaxtyping import Float
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.core.flow import LevelGrid
from latentedit.core.progress import Progress
from latentedit.core.rng import Seed, noise_like
from latentedit.core.settings import Count, Start, settings
from latentedit.core.solvers import Field, each_step
from latentedit.editors.base import Editor, unit_guidance
from latentedit.latents.inversion import End, InversionTrace, invert
from latentedit.latents.joint import JointLatent
from latentedit.models.guidance import GuidedField, arriving, unguided

Item = TypeVar("Item")

Latents = Float[Tensor, "b *latent"]  # a batch of latents
LevelBatch = Float[Tensor, " b"]  # the noise level of each latent of a batch
Under = Literal["empty", "source"]  # the text of an inversion: none, or the images' own


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Edit:
    """The arguments of `Editor.edit` at one strength that is not 0, and what most methods compute from them."""

    name: str  # of the editor, its progress and its stream of noise
    latent: JointLatent  # the images, under the source text c0
    target: Condition  # the target text c1, one per image
    strength: float
    seed: Seed
    progress: Progress | None

    @property
    def x(self) -> Latents:
        """The clean latents of the images."""
        return self.latent.z

    @property
    def text(self) -> Condition:
        """``c0 + strength (c1 - c0)``: the text between source and target, or beyond."""
        return self.latent.condition + self.strength * (self.target - self.latent.condition)

    @property
    def texts(self) -> tuple[Condition, Condition]:
        """c0 and c1 at a guidance weight of 1, where it is an input, as `Backbone.velocity` takes them."""
        backbone = self.latent.backbone
        return unguided(backbone, self.latent.condition), unguided(backbone, self.target)

    def texts_towards(self, level: float) -> tuple[Condition, Condition]:
        """`texts` for a step that ends at a level, see `arriving`."""
        backbone, (source, target) = self.latent.backbone, self.texts
        return arriving(backbone, source, level), arriving(backbone, target, level)

    def under(self, text: Under) -> JointLatent:
        """The images under the text of an inversion."""
        return self.latent.with_prompt("") if text == "empty" else self.latent

    def steps(self, levels: Sequence[float], name: str = "") -> Iterator[tuple[int, float, float]]:
        """The steps of a walk over levels, see `each_step`; reports progress under a name, the editor's by default."""
        return each_step(levels, name=name or self.name, progress=self.progress)

    def counted(self, levels: Sequence[Item]) -> Iterator[tuple[int, Item]]:
        """Levels that are no walk, with their numbers; reports progress after each."""
        for index, level in enumerate(levels):
            yield index, level
            if self.progress is not None:
                self.progress(self.name, index + 1, len(levels))

    def noise(self, purpose: str = "", *, index: int = 0, count: int | None = None) -> Float[Tensor, "..."]:
        """Noise of the shape of the latents, see `noise_like`; the stream is named after the editor by default."""
        return noise_like(self.x, seed=self.seed, purpose=purpose or self.name, index=index, count=count)

    def noised(self, level: float) -> Latents:
        """``(1 - s) x + s e``."""
        return (1 - level) * self.x + level * self.noise()

    def field(self, condition: Condition, guidance: float = 1.0) -> Field:
        """``(z, s) -> v_w(z, s, c)`` with s cut to ``[s_min, s_max]`` of the model.

        Walks of variance-preserving models end at the model's clean end, which may lie below the lowest level that the
        network was trained on.
        """
        field = GuidedField(backbone=self.latent.backbone, condition=condition, guidance=guidance)
        low, high = self.latent.backbone.capabilities.s_min, self.latent.backbone.capabilities.s_max
        if (low, high) == (0, 1):
            return field
        return lambda z, s: field(z, s.clamp(low, high))

    def two_fields(
        self, source_guidance: float, target_guidance: float, *, times: int = 1
    ) -> tuple[GuidedField, GuidedField]:
        """The velocities under source and target of a batch that is repeated, which share one empty text if guided."""
        backbone, count = self.latent.backbone, len(self.latent)
        unguided = source_guidance == target_guidance == 1
        empty = None if unguided else backbone.null(self.target).expand(count).repeat(times)

        def field(text: Condition, guidance: float) -> GuidedField:
            condition = text.repeat(times)
            return GuidedField(backbone=backbone, condition=condition, guidance=guidance, unconditional=empty)

        return field(self.latent.condition, source_guidance), field(self.target, target_guidance)

    def invert(self, grid: LevelGrid) -> InversionTrace:
        """The inversion of the images under c0 up to the top of a grid, for an aligned way back."""
        return invert(self.latent, grid, progress=self.progress)

    def ddim_inversion(self, grid: LevelGrid, time: End | None, latent: JointLatent | None = None) -> InversionTrace:
        """The inversion of the images, or of other latents, for a plain way back."""
        latent = self.latent if latent is None else latent
        end: End = "end" if latent.backbone.capabilities.predicts_noise else "start"
        return invert(latent, grid, time=time or end, progress=self.progress)


class Baseline(Editor):
    """An editor that gets the arguments of each strength as one `Edit`. Subclasses write `_move`."""

    __slots__ = ()

    def _edit(
        self, latent: JointLatent, target: Condition, *, strength: float, seed: Seed, progress: Progress | None
    ) -> Latents:
        edit = Edit(name=self.name, latent=latent, target=target, strength=strength, seed=seed, progress=progress)
        return self._move(edit)

    def _move(self, edit: Edit) -> Latents:
        """The edited latents."""
        raise NotImplementedError(f"the editor {self.name!r} has no _move")


@settings
class PathEditor(Baseline):
    """An editor whose cost depends on the number of steps of the model's grid below its level.

    Its settings named "guidance" are weights of classifier-free guidance; 1 is the conditional velocity. Subclasses
    write `_cost`, or `evaluations` where the cost depends on more.

    Args:
        level: where the path starts or an inversion ends: a level in (0, 1], or "24/28", where 24 of 28 steps are left.
        steps: of the model's full grid; an edit walks the part below ``level``.
    """

    level: Start = 0.9
    steps: Count = 28

    def evaluations(self, latent: JointLatent, *, strength: float = 1.0) -> int:
        """Network evaluations for the steps of this model's grid below ``level``."""
        if strength == 0:
            return 0
        one_branch = latent.backbone.capabilities.branches(0.0) == 1
        editor = dataclasses.replace(self, **unit_guidance(type(self))) if one_branch else self
        return editor._cost(self._path(latent).steps)

    def _cost(self, k: int) -> int:
        """Network evaluations per image of an edit in k steps, on a model with classifier-free guidance."""
        raise NotImplementedError(f"the editor {self.name!r} has neither _cost nor evaluations")

    def _path(self, latent: JointLatent) -> LevelGrid:
        return latent.path(self.steps, self.level)


def branches(guidance: float) -> int:
    """Evaluations of a velocity under classifier-free guidance: two, but one at weight 1, the conditional velocity."""
    return 1 if guidance == 1 else 2
