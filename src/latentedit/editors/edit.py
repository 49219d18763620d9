"""One edit: what `Editor.move` gets, and what most methods compute from it."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, TypeVar

from jaxtyping import Float
from torch import Tensor

from latentedit.core.console import Progress
from latentedit.core.setting import Start
from latentedit.encoding.inversion import End, InversionTrace, invert
from latentedit.encoding.joint import JointLatent
from latentedit.models.base import Backbone
from latentedit.models.guidance import GuidedField, arriving, unguided
from latentedit.numerics.condition import Condition
from latentedit.numerics.flow import LevelGrid
from latentedit.numerics.rng import Seed, noise_like
from latentedit.numerics.solvers import each_step

Item = TypeVar("Item")

Latents = Float[Tensor, "b *latent"]  # a batch of latents
LevelBatch = Float[Tensor, " b"]  # the noise level of each latent of a batch
Under = Literal["empty", "source"]  # the text of an inversion: none, or the images' own


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Edit:
    """Images, source and target text, strength and seed of one edit, with what most methods compute from them.

    `Editor.edit` makes one for each strength that is not 0. One notation for all: x is the clean latent, e noise of
    variance 1, s a noise level from 0 (data) to 1 (noise), ``z = (1 - s) x + s e``, c0 the source and c1 the target
    text, ``v(z, s, c)`` the velocity ``E[e - x | z, c]``, which the network predicts.

    Evaluations are counted per image: a velocity is one, under classifier-free guidance `branches`, a product with the
    network's Jacobian two. Noise, progress, texts and grids cost none.

    Args:
        name: of the editor; its progress and its stream of noise are named after it.
        latent: the encoded images: clean latents ``[b, *latent]``, captions, and the source text c0.
        target: the target text c1, one per image.
        strength: how far to go: a finite number but 0; 1 is the full change.
        strengths: all strengths of the call but 0; see `once`.
        seed: random seed: one, whose noise all images share, or one per image.
        progress: called with a name, the steps done and their total; None where nobody listens.
        sign: of all noise; see `mirrored`.
    """

    name: str
    latent: JointLatent
    target: Condition
    strength: float
    strengths: tuple[float, ...] = ()
    seed: Seed = 0
    progress: Progress | None = None
    sign: int = 1
    shared: dict[str, Any] = dataclasses.field(default_factory=dict[str, Any], repr=False)

    @property
    def x(self) -> Latents:
        """The clean latents of the images, ``[b, *latent]``."""
        return self.latent.z

    @property
    def backbone(self) -> Backbone:
        """The model."""
        return self.latent.backbone

    @property
    def text(self) -> Condition:
        """``c0 + strength (c1 - c0)``: the text between source and target, or beyond."""
        return self.latent.condition + self.strength * (self.target - self.latent.condition)

    @property
    def texts(self) -> tuple[Condition, Condition]:
        """c0 and c1 at a guidance weight of 1, where it is an input, as `Backbone.velocity` takes them."""
        return unguided(self.backbone, self.latent.condition), unguided(self.backbone, self.target)

    def texts_towards(self, level: float) -> tuple[Condition, Condition]:
        """`texts` for a step that ends at a level, see `arriving`."""
        source, target = self.texts
        return arriving(self.backbone, source, level), arriving(self.backbone, target, level)

    def under(self, text: Under) -> JointLatent:
        """The images under the text of an inversion."""
        return self.latent.with_prompt("") if text == "empty" else self.latent

    def mirrored(self) -> "Edit":
        """The same edit with the negative of every noise."""
        return dataclasses.replace(self, sign=-self.sign, shared=self.once("mirrored", dict[str, Any]))

    def path(self, steps: int, level: Start = 1.0, shift: float | None = None) -> LevelGrid:
        """The model's own grid of levels for these images, falling from a level to its clean end.

        Args:
            steps: of the model's full grid, from noise to data; the path has those below ``level``.
            level: where the path starts or an inversion ends: a level in (0, 1], or "24/28", where 24 of 28 steps are
                left.
            shift: spaces ``steps`` levels from ``level`` down as `HSDS` does; None takes the model's own grid.
        """
        return self.latent.path(steps, level, shift)

    def branches(self, guidance: float) -> int:
        """Evaluations of a velocity at a guidance weight: 1 at weight 1 and where the weight is an input, else 2."""
        return self.backbone.capabilities.branches(guidance)

    def once(self, key: str, compute: Callable[[], Item]) -> Item:
        """A value shared by all strengths of a call, such as an inversion: computed once, and kept for several."""
        if len(self.strengths) < 2:
            return compute()
        if key not in self.shared:
            self.shared[key] = compute()
        return self.shared[key]

    def at_image(self, index: int, velocity: Callable[..., Latents], *at: Any) -> Latents:
        """The velocity at the noised image in a step, ``velocity(*at)``; `once` for all strengths."""
        if len(self.strengths) < 2:
            return velocity(*at)
        key = f"velocity at the image, {index}"
        if key not in self.shared:
            self.shared[key] = velocity(*at)
        return self.shared[key]

    def steps(self, levels: Sequence[float], name: str = "") -> Iterator[tuple[int, float, float]]:
        """``(index, s, s')`` for each step of a walk over levels, from s to s'; the last s' of `path` is the clean end.

        Progress is reported under a name, the editor's by default.
        """
        return each_step(levels, name=name or self.name, progress=self.progress)

    def counted(self, levels: Sequence[Item]) -> Iterator[tuple[int, Item]]:
        """Levels that are no walk, with their numbers; reports progress after each."""
        for index, level in enumerate(levels):
            yield index, level
            if self.progress is not None:
                self.progress(self.name, index + 1, len(levels))

    def noise(
        self, purpose: str = "", *, index: int = 0, count: int | None = None, antithetic: bool = False
    ) -> Float[Tensor, "..."]:
        """Noise of the shape of the latents, see `noise_like`; the stream is named after the editor by default.

        Each ``index`` has noise of its own: that of a step, as FlowEdit draws it, is the same at both ends of a step of
        second order.
        """
        name = purpose or self.name
        found = noise_like(self.x, seed=self.seed, purpose=name, index=index, count=count, antithetic=antithetic)
        return found if self.sign == 1 else -found

    def noised(self, level: float) -> Latents:
        """``(1 - s) x + s e``."""
        return (1 - level) * self.x + level * self.noise()

    def field(
        self, condition: Condition, guidance: float = 1.0, *, unconditional: Condition | None = None
    ) -> GuidedField:
        """``(z, s) -> v_w(z, s, c)`` with s cut to ``[s_min, s_max]`` of the model.

        Walks end at the model's clean end, which may lie below the lowest level that the network was trained on.
        """
        return GuidedField(
            backbone=self.backbone,
            condition=condition,
            guidance=guidance,
            unconditional=unconditional,
            clipped=(self.backbone.capabilities.s_min, self.backbone.capabilities.s_max) != (0, 1),
        )

    def two_fields(
        self, source_guidance: float, target_guidance: float, *, times: int = 1
    ) -> tuple[GuidedField, GuidedField]:
        """`field` under source and target of a batch that is repeated; they share one empty text if guided."""
        unguided = source_guidance == target_guidance == 1
        empty = None if unguided else self.backbone.null(self.target).expand(len(self.latent)).repeat(times)
        source, target = (text.repeat(times) for text in (self.latent.condition, self.target))
        return (
            self.field(source, source_guidance, unconditional=empty),
            self.field(target, target_guidance, unconditional=empty),
        )

    def invert(self, grid: LevelGrid) -> InversionTrace:
        """The inversion of the images under c0 up to the top of a grid, for an aligned way back."""
        return self.once(f"inversion {grid.levels}", lambda: invert(self.latent, grid, progress=self.progress))

    def ddim_inversion(self, grid: LevelGrid, time: End | None, latent: JointLatent | None = None) -> InversionTrace:
        """The inversion of the images, or of other latents that are the same at all strengths, for a plain way back."""
        latent = self.latent if latent is None else latent
        # A DDIM step evaluates at the noisier of its two levels; public inversions keep that on the way up.
        end: End = "end" if latent.backbone.capabilities.predicts_noise else "start"
        how: dict[str, Any] = {"time": time or end, "progress": self.progress}
        return self.once(f"plain inversion {grid.levels}, {how['time']}", lambda: invert(latent, grid, **how))
