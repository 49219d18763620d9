"""A displacement of the joint latent: what *Identify* gives and *Manipulate* applies."""

import dataclasses
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.core.errors import ConfigError
from latentedit.directions.text import change_words
from latentedit.latents.captions.base import one_line
from latentedit.models.base import Backbone


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Curvature:
    """How curved ``-log p`` of the source text is where the direction was looked for, in units in which noise is 1.

    Rayleigh quotients ``p^T (s^2 H) p / p^T p``: 1 along what the source text pins down, near 0 along what it leaves
    free, below 0 between two modes. They are nan for pictures of which nothing was asked.

    Args:
        rayleigh: the quotient of the residual itself, mean over steps (and over noises in the gamma family).
        lowest: least quotient met; an upper bound of the lowest eigenvalue.
        negative_share: share of the products taken whose quotient is not positive, in [0, 1].
        fallback_share: share of the steps in which negative curvature at once left the residual unfiltered, in [0, 1].
        notes: what the user should know about how it was computed.
    """

    rayleigh: Float[Tensor, " b"]
    lowest: Float[Tensor, " b"]
    negative_share: Float[Tensor, " b"]
    fallback_share: Float[Tensor, " b"]
    notes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Calibration:
    """Strength against effect on the pictures on which a direction was found, and how far they could be taken.

    Args:
        arm: which part of the joint latent was moved.
        level: how far up the text and joint arms went.
        steps: of the model's whole grid.
        scales: multiples of the direction.
        effects: share of the whole change that each scale made, mean over the pictures.
        lowest: strength below which the first of the pictures is damaged.
        highest: strength above which the first of the pictures is damaged.
    """

    arm: str
    level: float
    steps: int
    scales: tuple[float, ...]
    effects: tuple[float, ...]
    lowest: float
    highest: float


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Direction:
    """A displacement of clean latent and text, at strength 1.

    Args:
        z: displacement of the clean latent (a displacement of x, not a velocity and not a score).
        condition: displacement of the text, target minus source.
        level: the noisiest level at which it was looked for.
        method: how it was found.
        settings: of that method, plain values.
        model_name: of the model in whose latent space it lives.
        model_fingerprint: of that model's weights.
        source_captions: what the pictures showed on which it was found, one a picture, where that is known.
        target_captions: what the target says, likewise.
        pictures: fingerprints of those pictures, see `JointLatent.pictures`.
        curvature: what the search saw of the Hessian, where it computed any of it.
        calibration: strength against effect, where that was measured.
        licence: under which the direction is shared; empty where nobody said.
        preview: a small PNG file of what it does; empty where there is none.
        feature: change of the feature at ``settings["site"]``, of unit length, that it makes where it was found; None
            where that is not known. With it a direction can be carried to another picture.
        instructed: its texts are instructions to a model that sees the picture, and no captions.
        notes: what the user should know about the search, as sentences.
    """

    z: Float[Tensor, "b *latent"]
    condition: Condition
    level: float
    method: str
    settings: Mapping[str, Any]
    model_name: str
    model_fingerprint: str
    source_captions: tuple[str, ...] = ()
    target_captions: tuple[str, ...] = ()
    pictures: tuple[str, ...] = ()
    curvature: Curvature | None = None
    calibration: Calibration | None = None
    licence: str = ""
    preview: bytes = b""
    feature: Float[Tensor, "*feature"] | None = None
    instructed: bool = False
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.z)

    def __repr__(self) -> str:
        known = self.source_captions and self.target_captions
        change = f' "{change_words(self.source_captions[0], self.target_captions[0])}"' if known else ""
        return f"<Direction {one_line(f'{self.method[:30]} of {self.model_name[-30:]}{change}')[:100]}>"

    def __neg__(self) -> "Direction":
        """The way back: from what the target says to what the source says."""
        return dataclasses.replace(
            self,
            z=-self.z,
            condition=self.condition * -1.0,
            source_captions=self.target_captions,
            target_captions=self.source_captions,
            curvature=None,
            calibration=None,
            preview=b"",
            feature=None if self.feature is None else -self.feature,
        )

    @property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits of what the direction does: its tensors and its model."""
        digest = hashlib.sha256(self.model_fingerprint.encode())
        for part in (self.z, self.condition.tokens, self.condition.pooled):
            values = part.detach().to("cpu", torch.float32).contiguous()
            digest.update(f"{list(values.shape)}".encode() + values.numpy().tobytes())
        return digest.hexdigest()[:16]

    @property
    def moves_nothing(self) -> bool:
        """Neither the image part nor the text part is other than zero."""
        text = self.condition
        return not bool(self.length.any() or text.tokens.any() or text.pooled.any())

    @property
    def length(self) -> Float[Tensor, " b"]:
        """The norm of each picture's displacement; 0 where the target text is the source text."""
        return torch.linalg.vector_norm(self.z.flatten(1), dim=1)

    def to(self, device: torch.device) -> "Direction":
        """The same direction with displacement, text and feature on another device; itself where they are there."""
        if self.z.device == device:
            return self
        return dataclasses.replace(
            self,
            z=self.z.to(device),
            condition=self.condition.to(device),
            feature=None if self.feature is None else self.feature.to(device),
        )

    def row(self, index: int) -> "Direction":
        """The direction of one picture; of one that is for all, itself."""
        if len(self) == 1:
            return self
        one = slice(index, index + 1)
        return dataclasses.replace(
            self,
            z=self.z[one],
            condition=self.condition.expand(len(self))[one],
            source_captions=self.source_captions[one],
            target_captions=self.target_captions[one],
            pictures=self.pictures[one],
            curvature=None,
        )

    def mean(self) -> "Direction":
        """One direction for any picture: the mean over the pictures on which this one was found."""
        if len(self) == 1:
            return self
        mask = self.condition.mask
        condition = Condition(
            tokens=self.condition.tokens.mean(0, keepdim=True),
            pooled=self.condition.pooled.mean(0, keepdim=True),
            mask=None if mask is None else mask.any(0, keepdim=True),
        )
        return dataclasses.replace(
            self, z=self.z.mean(0, keepdim=True), condition=condition, curvature=None, feature=None
        )

    def save(self, path: str | Path) -> None:
        """Write it to a file, FILE.safetensors, that anyone with the model can use.

        Raises:
            OutputError: a place that cannot be written to, or another ending.
        """
        from latentedit.directions.direction_file import save_direction  # noqa: PLC0415  # the format knows this class

        save_direction(self, path)

    @staticmethod
    def load(path: str | Path, *, model: Backbone | None = None) -> "Direction":
        """Read a direction that may come from anyone.

        Args:
            path: a file that `save` wrote.
            model: what the direction is for; its tensors go to the device of this model. Without one, any model's
                direction is read, and stays on the CPU.

        Raises:
            FileFormatError: no such file, no direction, a damaged or hostile file, or one of a newer format.
            ConfigError: a direction of another model.
        """
        from latentedit.directions.direction_file import load_direction  # noqa: PLC0415

        return load_direction(path, model=model)

    def check_model(self, name: str, fingerprint: str) -> None:
        """Refuse a model in whose latent space this direction means nothing.

        Raises:
            ConfigError: the fingerprints differ.
        """
        if fingerprint != self.model_fingerprint:
            raise ConfigError(
                f"the direction was found in another model, {self.model_name!r} ({self.model_fingerprint}), than "
                f"{name!r} ({fingerprint}). Identify it again with this model"
            )
