"""One batch of encoded pictures: clean latents, the text that describes them, and their frames."""

import dataclasses
import hashlib
import warnings
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.core.errors import ShapeError
from latentedit.core.levels import LevelGrid
from latentedit.latents.captions.base import one_line
from latentedit.latents.captions.completion import Completion
from latentedit.latents.familiarity import Familiarity
from latentedit.latents.pictures import Frame, Picture
from latentedit.latents.record import RunRecord
from latentedit.models.base import Backbone


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class JointLatent:
    """Encoded pictures in the joint space of image and text: what *Encode* gives and every editor starts from.

    Args:
        backbone: the model whose latents these are.
        z: clean latents (level 0).
        condition: the embedded captions, one a picture; of an instruction-tuned model, the no-op instruction with the
            pictures' own latents as references.
        captions: what the pictures show, or that instruction, one a picture.
        frames: the pictures at the model's size, and the way back; empty for latents without pictures.
        start: clean latents of the frames' pictures if z has been moved away from them, else None.
        provenance: the record of the edit that moved it.
        knowledge: how familiar each picture is to the model (`guard.check_familiarity`); empty if that was not checked.
        read: the captions of the model's own captioner, one a picture; empty if it was not used.
        references: additional reference images.
        completions: how the captions were completed, one a picture; empty if they were not.
        decoded: ``backbone.decode`` of the frames' latents: every edit is drawn as a change against it.

    Raises:
        ShapeError: parts of different batches.
    """

    backbone: Backbone
    z: Float[Tensor, "b *latent"]
    condition: Condition
    captions: tuple[str, ...]
    frames: tuple[Frame, ...] = ()
    start: Float[Tensor, "b *latent"] | None = None
    provenance: RunRecord | None = None
    decoded: Float[Tensor, "b 3 h w"] | None = None
    knowledge: tuple[Familiarity, ...] = ()
    read: tuple[str, ...] = ()
    references: tuple[Picture, ...] = ()
    completions: tuple[Completion, ...] = ()

    def __post_init__(self) -> None:
        counts = {name: len(getattr(self, name)) for name in ("z", "condition", "captions")}
        tensors = {name: len(part) for name in ("start", "decoded") if (part := getattr(self, name)) is not None}
        counts |= tensors | {name: len(part) for name in ("frames", "knowledge") if (part := getattr(self, name))}
        if len(set(counts.values())) > 1:
            listed = ", ".join(f"{count} {name}" for name, count in counts.items())
            raise ShapeError(f"the parts of a batch differ in number: {listed}")

    def __len__(self) -> int:
        return len(self.z)

    def __repr__(self) -> str:
        captions = one_line("; ".join(self.captions))[:50]
        return f'<JointLatent {list(self.z.shape)} of {one_line(self.backbone.name)[-30:]}: "{captions}">'

    @property
    def pictures(self) -> tuple[str, ...]:
        """The fingerprint of each picture's pixels, with a digest of the latent if it was moved, and of references."""
        names = tuple(frame.picture.fingerprint for frame in self.frames)
        if self.start is None and not self.references:
            return names
        others = "".join(picture.fingerprint for picture in self.references).encode()
        rows = [row.detach().to("cpu", torch.float32).contiguous().numpy().tobytes() for row in self.z]
        digests = [hashlib.sha256(others + row).hexdigest()[:16] for row in rows]
        return tuple(f"{name}-{digest}" for name, digest in zip(names, digests, strict=False))

    @property
    def instructed(self) -> bool:
        """Whether the model has the pictures as references, and texts are instructions."""
        return self.condition.reference is not None

    def repeat(self, times: int) -> "JointLatent":
        """The batch repeated ``times`` times; element i is at i, i + b, i + 2 b, ..."""
        return JointLatent(
            backbone=self.backbone,
            z=self.z.repeat(times, *[1] * (self.z.ndim - 1)),
            condition=self.condition.repeat(times),
            captions=self.captions * times,
            frames=self.frames * times,
            start=None if self.start is None else self.start.repeat(times, *[1] * (self.start.ndim - 1)),
            references=self.references,
        )

    def embed_with_references(self, texts: Sequence[str]) -> Condition:
        """Texts, one for all or one a picture, embedded with the pictures' references."""
        condition, reference = self.backbone.embed(texts), self.condition.reference
        if reference is None:
            return condition
        return dataclasses.replace(condition.expand(len(self)), reference=reference)

    def with_prompt(self, text: str) -> "JointLatent":
        """The same pictures with another text as their captions, "" for none."""
        condition = self.embed_with_references([text]).expand(len(self))
        return dataclasses.replace(self, condition=condition, captions=(text,) * len(self))

    def under(self, text: str) -> "JointLatent":
        """The former name of `with_prompt`; gives a FutureWarning."""
        warnings.warn("`under` was renamed to `with_prompt`", FutureWarning, stacklevel=2)
        return self.with_prompt(text)

    def path(self, steps: int, level: float = 1.0) -> LevelGrid:
        """The model's own grid for these pictures, ``steps`` levels over its full range, from ``level`` down."""
        height, width = self.frames[0].pixels.shape[-2:] if self.frames else (0, 0)
        grid = self.backbone.grid(steps, height_px=height, width_px=width)
        return grid.below(min(level, grid.levels[0]))
