"""The front door: load, encode, identify, manipulate, edit. Everything below runs without gradients."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from latentedit.backbones import registry as backbone_registry
from latentedit.backbones.base import Backbone
from latentedit.directions.base import Direction
from latentedit.directions.hsds import HSDS
from latentedit.directions.hsds import identify as identify_hsds
from latentedit.directions.settings import to_plain
from latentedit.editing.base import Editor, check_strength
from latentedit.editing.eim import EIM, Arm
from latentedit.editing.eim import manipulate as manipulate_latent
from latentedit.editing.measure import measured
from latentedit.editing.registry import make_editor, stored_settings
from latentedit.editing.result import EditResult
from latentedit.encoding.captioning import captioner_for
from latentedit.encoding.images import Frame, Picture
from latentedit.encoding.joint import JointLatent
from latentedit.errors import ConfigError
from latentedit.types import Progress

PictureLike = str | Path | Image.Image | Picture
"""A file, a Pillow image, or a picture that is already open."""


def load(name: str | Path, *, device: str | torch.device | None = None, dtype: torch.dtype | None = None) -> Backbone:
    """Load a model.

    Args:
        name: a bundled model ("portraits"), a diffusers folder, or a hub id.
        device: where it runs; by default a GPU if there is one.
        dtype: of the network; by default what suits the device.

    Raises:
        RegistryError: an unknown name, with the nearest ones.
        ModelError: a folder that is incomplete, damaged or unsafe.
    """
    return backbone_registry.load(name, device=device, dtype=dtype)


@torch.no_grad()
def encode(
    model: Backbone, picture: PictureLike | Sequence[PictureLike], *, caption: str | Sequence[str] | None = None
) -> JointLatent:
    """Encode pictures with the captions that describe them.

    Args:
        model: from `load`.
        picture: one, or a list that the model takes at one size.
        caption: what the picture shows, one or one a picture; read by the model's captioner where it is not given.

    Raises:
        ImageError: a file that is no picture fit for editing.
        ConfigError: no caption where one is needed, an empty one, or pictures that cannot share a batch.
    """
    pictures = [picture] if isinstance(picture, PictureLike) else list(picture)
    if not pictures:
        raise ConfigError("expected at least one picture; got an empty list")
    if not model.capabilities.pixels:
        raise ConfigError(f"expected a model that encodes pictures; {model.name!r} knows latents only")
    frames = tuple(_open(item).fit(model.capabilities) for item in pictures)
    if len({frame.pixels.shape for frame in frames}) > 1:
        raise ConfigError("expected pictures of one shape in a batch; got several. Encode them one by one, or use edit")
    pixels = torch.stack([frame.pixels for frame in frames]).to(model.device, model.dtype)
    captions = _captions(model, pixels, caption)
    z = model.encode(pixels)
    return JointLatent(
        backbone=model,
        z=z,
        condition=model.embed(captions),
        captions=captions,
        frames=frames,
        decoded=model.decode(z),
        listed=not isinstance(picture, PictureLike),
    )


@torch.no_grad()
def identify(
    latent: JointLatent,
    *,
    to: str | Sequence[str],
    method: HSDS | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Direction:
    """Find the direction from the pictures' captions to another text.

    Args:
        latent: from `encode`.
        to: full captions of what is wanted, one or one a picture.
        method: settings; those that suit the model by default.
        seed: of the noises.
        progress: told about each step.

    Raises:
        ConfigError: an empty caption, or a number of captions that does not fit.
    """
    targets = _texts(to, len(latent), "target caption")
    config = method if method is not None else _stored_eim(latent.backbone).method()
    target = latent.backbone.embed(targets)
    direction = identify_hsds(latent, target, config, seed=seed, progress=progress)
    return dataclasses.replace(direction, target_captions=targets)


@torch.no_grad()
def manipulate(
    latent: JointLatent,
    direction: Direction,
    *,
    strength: float = 1.0,
    arm: Arm | None = None,
    level: float | None = None,
    steps: int | None = None,
    progress: Progress | None = None,
) -> EditResult | list[EditResult]:
    """Move pictures by a direction.

    Args:
        latent: from `encode`.
        direction: from `identify`.
        strength: any real number; 0 is the picture itself.
        arm: "image", "text" or "joint"; what suits the model by default.
        level: how far up the text and joint arms go; likewise.
        steps: of the model's whole grid for those arms; likewise.
        progress: told about each step.

    Returns:
        One result, or a list where `encode` was given a list.

    Raises:
        ConfigError: a direction of another model, a strength that is no number, an unknown arm.
    """
    stored = _stored_eim(latent.backbone)
    editor = dataclasses.replace(
        stored,
        arm=stored.arm if arm is None else arm,
        level=stored.level if level is None else level,
        manipulate_steps=stored.manipulate_steps if steps is None else steps,
    )

    def run() -> Tensor:
        return manipulate_latent(
            latent,
            direction,
            strength=strength,
            arm=editor.arm,
            level=editor.level,
            steps=editor.manipulate_steps,
            progress=progress,
        )

    found_by = {"method": direction.method, **direction.settings}
    moved_by = {"arm": editor.arm, "level": editor.level, "manipulate_steps": editor.manipulate_steps}
    results = measured(
        latent,
        run,
        strength=strength,
        method="eim",
        settings={"direction": found_by, **moved_by},
        seed=int(direction.settings.get("seed", 0)),
        targets=direction.target_captions * (len(latent) if len(direction.target_captions) == 1 else 1),
    )
    return results if latent.listed else results[0]


@torch.no_grad()
def edit(
    model: Backbone,
    picture: PictureLike | Sequence[PictureLike],
    *,
    to: str | Sequence[str],
    caption: str | Sequence[str] | None = None,
    strength: float = 1.0,
    method: str | Editor = "eim",
    seed: int = 0,
    progress: Progress | None = None,
) -> EditResult | list[EditResult]:
    """Edit pictures towards a text: encode, then any editor by name or with settings of one's own.

    Args:
        model: from `load`.
        picture: one, or a list; a list runs as one batch for each size that the model needs.
        to: full captions of what is wanted, one or one a picture.
        caption: what the pictures show; read by the model's captioner where it is not given.
        strength: 0 is the picture itself, 1 the whole change.
        method: an editor's name (its settings are then those that suit the model), or an editor.
        seed: of every random number.
        progress: told about each step.

    Returns:
        One result, or a list in the order of the pictures.

    Raises:
        LatentEditError: any input that makes no sense, in words for the user.
    """
    check_strength(strength)
    editor = make_editor(method, model) if isinstance(method, str) else method
    pictures = [picture] if isinstance(picture, PictureLike) else [_open(item) for item in picture]
    targets = _texts(to, len(pictures), "target caption")
    captions = [None] * len(pictures) if caption is None else _texts(caption, len(pictures), "caption")
    opened = [_open(item) for item in pictures]
    results: dict[int, EditResult] = {}
    for group in _by_shape([item.fit(model.capabilities) for item in opened]):
        named = [text for index in group if (text := captions[index]) is not None]
        latent = encode(model, [opened[index] for index in group], caption=named or None)
        wanted = tuple(targets[index] for index in group)
        made = _run(editor, latent, wanted, strength=strength, seed=seed, progress=progress)
        results |= dict(zip(group, made, strict=True))
    ordered = [results[index] for index in range(len(pictures))]
    return ordered[0] if isinstance(picture, PictureLike) else ordered


def _run(
    editor: Editor,
    latent: JointLatent,
    targets: tuple[str, ...],
    *,
    strength: float,
    seed: int,
    progress: Progress | None,
) -> list[EditResult]:
    target = latent.backbone.embed(targets)

    def run() -> Tensor:
        return editor.edit(latent, target, strength=strength, seed=seed, progress=progress)

    return measured(
        latent, run, strength=strength, method=editor.name, settings=to_plain(editor), seed=seed, targets=targets
    )


def _by_shape(frames: Sequence[Frame]) -> list[list[int]]:
    groups: dict[tuple[int, ...], list[int]] = {}
    for index, frame in enumerate(frames):
        groups.setdefault(tuple(frame.pixels.shape), []).append(index)
    return list(groups.values())


def _stored_eim(model: Backbone) -> EIM:
    return EIM.from_dict(stored_settings(EIM.name, model))


def _open(picture: PictureLike) -> Picture:
    if isinstance(picture, Picture):
        return picture
    return Picture.from_image(picture) if isinstance(picture, Image.Image) else Picture.open(picture)


def _texts(texts: str | Sequence[str], count: int, what: str) -> tuple[str, ...]:
    given = (texts,) * count if isinstance(texts, str) else tuple(texts)
    if len(given) != count:
        raise ConfigError(f"expected one {what}, or one for each of {count} pictures; got {len(given)}")
    if any(not text.strip() for text in given):
        raise ConfigError(f"expected a {what} that describes the whole picture; got an empty one")
    return given


def _captions(model: Backbone, pixels: Tensor, caption: str | Sequence[str] | None) -> tuple[str, ...]:
    if caption is not None:
        return _texts(caption, len(pixels), "caption")
    captioner = captioner_for(model)
    if captioner is None:
        raise ConfigError(
            f"expected a caption, for the model {model.name!r} has no captioner; got none. "
            "Say what the picture shows: caption='...' in Python, --from '...' on the command line"
        )
    return tuple(captioner.caption(pixels))
