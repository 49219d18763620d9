"""One batch of encoded images: latents, captions and frames; how familiar the model is with them, and its losses."""

import dataclasses
import hashlib
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.errors import Hinted, ModelError, ShapeError
from latentedit.core.setting import Start
from latentedit.encoding.captions.base import one_line, shortened
from latentedit.encoding.captions.completion import Completion
from latentedit.encoding.captions.fitting import LeftOut
from latentedit.encoding.images import Frame, SourceImage
from latentedit.encoding.record import RunRecord
from latentedit.models.base import Backbone, DetachedModel
from latentedit.numerics.condition import Condition
from latentedit.numerics.flow import LevelGrid, grid_above, level_batch
from latentedit.numerics.rng import Seed, noise_like

# Like the model's own samples; unlike them, but nearer to them than to severely corrupted ones; neither.
State = Literal["known", "doubtful", "unknown"]

# Why an image is unfamiliar: the framer finds no subject, ..., "size" for few pixels or blur; "" for a known image.
Reason = Literal["", "subject", "style", "framing", "size", "colors", "caption"]

ErrorKey = tuple[str, float, Seed, int]  # fingerprint of the model, level, seed, number of the pair of noises

_REASONS: dict[str, str] = {
    "subject": "no subject of the kind that the model was trained on",
    "style": "nearest reason: style",
    "framing": "nearest reason: framing",
    "size": "nearest reason: size or sharpness",
    "colors": "nearest reason: colors",
    "caption": "nearest reason: the caption does not fit it",
}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Familiarity:
    """How familiar an image is to a model under its caption; see `encoding.familiarity`.

    Args:
        state: "known", "doubtful" or "unknown".
        number: denoising loss of the image at level 0.5, relative to the median loss of the model's own samples.
        reason: the nearest one.
        caption_fits: the model denoises the image at least as well with its caption as without any.
        caption_read: the caption is what the model's own captioner says.
        evaluations: network evaluations that the check took.
    """

    state: State
    number: float
    reason: Reason
    caption_fits: bool
    caption_read: bool
    evaluations: int

    @property
    def text(self) -> str:
        """State, number and reason in one clause."""
        return f"{self.state}: {self.details}"

    @property
    def details(self) -> str:
        """Number and reason."""
        reason = f"; {_REASONS[self.reason]}" if self.reason else ""
        return f"denoising loss {self.number:.1f}x that of the model's own samples{reason}"

    @property
    def doubts(self) -> tuple[str, ...]:
        """Doubts that the user should know before an edit; none for a known image under a caption that fits."""
        doubts: list[str] = []
        if self.state != "known":
            doubts.append(f"this image is {self.state} to the model: {self.details}")
            if self.caption_read:
                doubts.append("the captioner was not trained on such images")
        if not self.caption_fits:
            doubts.append("the caption does not fit the image: the model denoises it better without any")
        return tuple(doubts)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class JointLatent(Hinted):
    """Encoded images in the joint space of image and text: what *Encode* gives and every editor starts from.

    Args:
        backbone: the model whose latents these are.
        z: clean latents (level 0).
        condition: the embedded captions, one an image; of an instruction-tuned model, the no-op instruction with the
            images' own latents as references.
        captions: what the images show, or that instruction, one an image.
        frames: the images at the model's size, and the way back; empty for latents without images.
        start: clean latents of the frames' images if z has been moved away from them, else None.
        provenance: the record of the edit that moved it.
        knowledge: how familiar each image is to the model; empty until `check_familiarity` fills it in.
        read: the captions of the model's own captioner, one an image; empty if it was not used.
        references: additional reference images.
        completions: how the captions were completed, one an image; empty if they were not.
        encoders: `Backbone.encoders` when the images were encoded; empty if it was not read.
        left_out: what the text encoders were not given of the captions, one an image (`captions.fitting`); empty if all
            of it.
        levels: used as they are, whatever level and number of steps an editor has; None is the model's own grid.
        decoded: ``backbone.decode`` of the frames' latents: every edit is drawn as a change against it.
        errors: `denoising_errors` of z under the captions, filled in by the guard and the verdict, which look at the
            same level; by the model's fingerprint, the level, the seed and the number of the pair of noises.
        sliders: inversions, effects and undamaged ranges along the latest directions, filled in by `editors.moving`:
            further strengths cost less.

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
    references: tuple[SourceImage, ...] = ()
    completions: tuple[Completion, ...] = ()
    encoders: str = ""
    left_out: tuple[LeftOut, ...] = ()
    levels: LevelGrid | None = None
    errors: dict[ErrorKey, Tensor] = dataclasses.field(init=False, repr=False, default_factory=dict[ErrorKey, Tensor])
    sliders: dict[Any, Any] = dataclasses.field(init=False, repr=False, default_factory=dict[Any, Any])

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
        captions = shortened("; ".join(self.captions), 60)
        return f'<JointLatent {list(self.z.shape)} of {one_line(self.backbone.name)[-30:]}: "{captions}">'

    @property
    def images(self) -> tuple[str, ...]:
        """The fingerprint of each image's pixels, with a digest of the latent if it was moved, and of references."""
        names = tuple(frame.image.fingerprint for frame in self.frames)
        if self.start is None and not self.references:
            return names
        others = "".join(image.fingerprint for image in self.references).encode()
        rows = [row.detach().to("cpu", torch.float32).contiguous().numpy().tobytes() for row in self.z]
        digests = [hashlib.sha256(others + row).hexdigest()[:16] for row in rows]
        return tuple(f"{name}-{digest}" for name, digest in zip(names, digests, strict=False))

    def error_key(self, level: float, seed: Seed, pair: int) -> ErrorKey:
        """The key of `errors`."""
        return self.backbone.fingerprint, level, seed if isinstance(seed, int) else tuple(seed), pair

    def check_encoders(self) -> None:
        """Refuse images and captions that were encoded before their model's VAE or text encoders changed."""
        if self.encoders and self.encoders != self.backbone.encoders:
            raise ModelError(
                f"the VAE or a text encoder of {self.backbone.name} changed after these images were encoded. Encode "
                "them again"
            )

    def detach(self) -> "JointLatent":
        """The same on the CPU and without a model, see `DetachedModel`."""
        model: Any = DetachedModel(self.backbone.name)
        z, start = (None if part is None else part.detach().to("cpu", copy=True) for part in (self.z, self.start))
        condition = self.condition.to(torch.device("cpu"))
        return dataclasses.replace(self, backbone=model, z=z, start=start, condition=condition, decoded=None)

    @property
    def pixels(self) -> Float[Tensor, "b 3 h w"]:
        """The frames' images as the model is shown them, in [-1, 1], on the CPU."""
        return torch.stack([frame.pixels for frame in self.frames])

    @property
    def instructed(self) -> bool:
        """Whether the model has the images as references, and texts are instructions."""
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
            left_out=self.left_out * times,
            levels=self.levels,
        )

    def embed_with_references(self, texts: Sequence[str]) -> Condition:
        """Texts, one for all or one an image, embedded with the images' references."""
        condition, own = self.backbone.embed(texts), self.condition
        if own.reference is None:
            return condition
        condition = dataclasses.replace(condition.expand(len(self)), reference=own.reference)
        return condition.guided_by_image(own.image_guidance)

    def guided_by_image(self, weight: float | None) -> "JointLatent":
        """The same under another weight of the images that the model sees, see `Condition.guided_by_image`."""
        return dataclasses.replace(self, condition=self.condition.guided_by_image(weight))

    def with_prompt(self, text: str) -> "JointLatent":
        """The same images with another text as their captions, "" for none."""
        condition = self.embed_with_references([text]).expand(len(self))
        captions = (text,) * len(self)
        return dataclasses.replace(self, condition=condition, captions=captions, left_out=(), knowledge=())

    def level(self, steps: int, where: Start) -> float:
        """A level, or that at which so many of the steps of the model's own grid for these images are left."""
        if not isinstance(where, str):
            return where
        left, of = map(int, where.split("/"))
        grid = self._grid(steps)
        return grid.levels[-1 - max(1, round((steps if self.levels is None else grid.steps) * left / of))]

    def path(self, steps: int, level: Start = 1.0, shift: float | None = None) -> LevelGrid:
        """The given ``levels``, else the model's grid, ``steps`` levels over its full range, from ``level`` down.

        With a shift, ``steps`` levels from ``level`` to the model's clean end, spaced as those of `HSDS`.
        """
        grid = self._grid(steps)
        if self.levels is not None:
            return grid
        known = self.backbone.capabilities
        start, end = min(known.level(self.level(steps, level)), grid.levels[0]), grid.levels[-1]
        if shift is None:
            return grid.below(start)
        return grid_above(known.s_min, steps, start=start, end=end, shift=shift)

    def _grid(self, steps: int) -> LevelGrid:
        if self.levels is not None:
            return self.levels
        height, width = self.frames[0].pixels.shape[-2:] if self.frames else (0, 0)
        return self.backbone.grid(steps, height_px=height, width_px=width)


class Noised(NamedTuple):
    """Clean latents that are noised to one level and denoised under a text, see `denoising_errors`."""

    z: Float[Tensor, "b *latent"]
    condition: Condition
    level: float
    noise: Float[Tensor, "m b *latent"]


def judging_noise(z: Float[Tensor, "b *latent"], seed: Seed, pair: int) -> Float[Tensor, "2 b *latent"]:
    """The noises of guard and verdict at the level that they share; one antithetic pair."""
    noise = noise_like(z, seed=seed, purpose="verdict", count=pair + 1)[pair:]
    return torch.cat([noise, -noise])


def denoising_errors(backbone: Backbone, points: Sequence[Noised]) -> list[Float[Tensor, "b *latent"]]:
    """``(x_hat(z_s, c) - z)^2`` at each position of clean latents, mean over the noises, for each of the points.

    All points are one batch, with an evaluation per latent and noise: a network is up to twice as fast on eight rows
    as on two. Levels are cut to those of the model.
    """
    levels = [backbone.capabilities.level(point.level) for point in points]
    noised = [((1 - s) * z + s * noise).flatten(0, 1) for (z, _, _, noise), s in zip(points, levels, strict=True)]
    texts = Condition.cat([text.expand(len(z)).repeat(len(noise)) for z, text, _, noise in points])
    at = torch.cat([level_batch(s, rows) for s, rows in zip(levels, noised, strict=True)])
    v = backbone.velocity(torch.cat(noised), at, texts).split([len(rows) for rows in noised])
    errors: list[Tensor] = []
    for (z, _, _, noise), s, rows, velocity in zip(points, levels, noised, v, strict=True):
        estimates = (rows - s * velocity).unflatten(0, (len(noise), len(z)))
        errors.append((estimates - z).square().mean(0))
    return errors


def denoising_losses(
    backbone: Backbone,
    z: Float[Tensor, "b *latent"],
    texts: Sequence[Condition],
    *,
    level: float,
    pairs: int,
    seed: Seed,
    purpose: str,
) -> Float[Tensor, "texts b"]:
    """``loss(z, c) = mean |x_hat(z_s, c) - z|^2`` of clean latents under each text; small where z is likely under c.

    All texts have the same noises, in antithetic pairs; it costs ``2 pairs`` evaluations per latent and text.
    """
    noise = noise_like(z, seed=seed, purpose=purpose, count=2 * pairs, antithetic=True)
    errors = denoising_errors(backbone, [Noised(z, text, level, noise) for text in texts])
    return torch.stack(errors).flatten(2).mean(2)
