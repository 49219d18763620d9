"""The contract of an editor: encoded pictures, a target text and a strength."""

import abc
import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, TypeVar

from jaxtyping import Float
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.core.errors import ConfigError
from latentedit.core.progress import Progress
from latentedit.core.rng import Seed
from latentedit.core.settings import from_plain, to_plain
from latentedit.directions.direction import Direction
from latentedit.latents.joint import JointLatent

Kind = TypeVar("Kind")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StrengthResult:
    """A batch of pictures at one strength.

    Args:
        z: clean latents.
        strength: the requested one.
        limit: the strength beyond which each picture is damaged; nan, or None for all, where it was not measured.
        direction: along which the pictures were moved; None for editors without one.
        notes: what the user should know about the direction.
    """

    z: Float[Tensor, "b *latent"]
    strength: float
    limit: Float[Tensor, " b"] | None = None
    direction: Direction | None = None
    notes: tuple[str, ...] = ()


# The settings of editors that are weights of classifier-free guidance.
GUIDANCE_SETTINGS = ("guidance", "source_guidance", "target_guidance")


def unit_guidance(kind: "type[Editor]") -> dict[str, Any]:
    """The guidance weights that an editor has, all 1."""
    fields: Any = getattr(kind, "__dataclass_fields__", ())
    return {name: 1.0 for name in GUIDANCE_SETTINGS if name in fields}


class Editor(abc.ABC):
    """A method that moves clean latents towards a text: a frozen dataclass of its settings.

    Laws:
        1. At strength 0 ``edit`` gives ``latent.z``, bit for bit.
        2. The same arguments and seed give the same result, whatever the global random state.
        3. A picture's result depends on its own seed and not on the other pictures of its batch (up to the rounding of
           batched kernels).
        4. ``edit(latent, target, [strength])`` costs ``evaluations(latent, strength=strength)`` network evaluations a
           picture; several strengths cost at most the sum of theirs.
        5. Where ``keeps_equal_texts``: a target equal to the source text changes nothing.
        6. ``from_dict(to_dict(editor)) == editor``.

    Subclasses write `evaluations` and either `_edit`, for one strength, or `_edit_all`; `edit` validates. Settings are
    checked when an editor is made: one outside its range is a `ConfigError`.
    """

    __slots__ = ()

    name: ClassVar[str]
    """Its name in the registry, on the command line and in records."""

    localizes: ClassVar[bool] = False
    """Its change gets an automatic soft mask (`directions.identification`) unless the user says otherwise."""

    @property
    def keeps_equal_texts(self) -> bool:
        """Whether equal source and target texts change nothing, with these settings; by default they do not."""
        return True

    def for_captions(self, sources: Sequence[str], targets: Sequence[str]) -> "Editor":
        """The editor for pictures with these captions and targets; itself, unless it reads more than conditions."""
        del sources, targets
        return self

    @abc.abstractmethod
    def evaluations(self, latent: JointLatent, *, strength: float = 1.0) -> int:
        """Network evaluations per picture of an edit at one strength; 0 at strength 0, which does nothing."""

    def _edit(
        self, latent: JointLatent, target: Condition, *, strength: float, seed: Seed, progress: Progress | None
    ) -> Float[Tensor, "b *latent"]:
        """The edited latents; the arguments are already checked and the strength is not 0."""
        raise NotImplementedError(f"the editor {self.name!r} has neither _edit nor _edit_all")

    def _edit_all(
        self,
        latent: JointLatent,
        target: Condition,
        strengths: Sequence[float],
        *,
        seed: Seed,
        progress: Progress | None,
    ) -> list[StrengthResult]:
        """One result per strength; as `_edit`, which it calls for each."""
        return [
            StrengthResult(
                z=self._edit(latent, target, strength=strength, seed=seed, progress=progress), strength=strength
            )
            for strength in strengths
        ]

    def edit(
        self,
        latent: JointLatent,
        target: Condition,
        strengths: Sequence[float],
        *,
        seed: Seed = 0,
        progress: Progress | None = None,
    ) -> list[StrengthResult]:
        """The clean latents, edited to each strength.

        Args:
            latent: encoded pictures with their captions.
            target: target text, one or one per picture.
            strengths: 0 is the picture itself, 1 the full change; negative and larger values where the editor allows.
            seed: random seed: one, whose noise all pictures share, or one per picture.

        Returns:
            One result per strength, in their order.

        Raises:
            ConfigError: a strength that is not a finite number, or that this editor refuses.
            ShapeError: neither one target nor one per picture.

        Cost:
            ``evaluations(latent, strength=strength)`` a picture and strength, less what the strengths share.
        """
        for strength in strengths:
            check_strength(strength)
        target = target.expand(len(latent))
        moving = [float(strength) for strength in strengths if strength != 0]
        results = iter(self._edit_all(latent, target, moving, seed=seed, progress=progress) if moving else ())
        return [
            next(results) if strength != 0 else StrengthResult(z=latent.z, strength=float(strength))
            for strength in strengths
        ]

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain values."""
        return to_plain(self)

    def settings_along(self) -> dict[str, Any]:
        """The settings that apply along a given direction, which has a record of its own."""
        return self.to_dict()

    @classmethod
    def from_dict(cls: type[Kind], settings: Mapping[str, Any]) -> Kind:
        """The editor with these settings, the rest at their defaults.

        Raises:
            ConfigError: a setting that this editor does not have, with the nearest names.
        """
        return from_plain(cls, settings)


def check_strength(strength: float) -> None:
    """Refuse a strength that is not a finite number."""
    if isinstance(strength, bool) or not math.isfinite(strength):
        raise ConfigError(f"the strength must be a finite number, such as 1.0; got {strength}")
