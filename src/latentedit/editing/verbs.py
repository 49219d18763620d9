"""The front door: load, encode, identify, manipulate, edit. Everything below runs without gradients."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import torch

from latentedit.backbones import registry as backbone_registry
from latentedit.backbones.base import Backbone
from latentedit.directions.base import Direction
from latentedit.directions.hsds import HSDS
from latentedit.directions.identification import identify as identify_hsds
from latentedit.directions.settings import to_plain
from latentedit.directions.text import align_captions
from latentedit.editing.base import Editor, Moved, check_strength
from latentedit.editing.eim import EIM
from latentedit.editing.measure import Request, measured
from latentedit.editing.registry import make_editor, stored_settings
from latentedit.editing.result import EditResult
from latentedit.editing.slider import Arm, Slider
from latentedit.encoding.encode import PictureLike, encode, one_each, open_picture
from latentedit.encoding.images import Frame
from latentedit.encoding.joint import JointLatent
from latentedit.errors import ConfigError
from latentedit.types import Condition, Progress


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
    targets = one_each(to, len(latent), "target caption")
    config = method if method is not None else _stored_eim(latent.backbone).search
    target = _embedded(latent, targets)
    direction = identify_hsds(latent, target, config, seed=seed, progress=progress)
    if not bool(direction.length.any()):
        raise ConfigError(
            "expected a target caption that says something else than the source caption; got a direction of zero "
            f"length from {latent.captions[0]!r} to {targets[0]!r}. Name what should change"
        )
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

    What is found out on the way (inversion, effects, range) stays with the latent and serves the next strength.

    Args:
        latent: from `encode`.
        direction: from `identify`.
        strength: 0 is the picture itself, 1 the whole change, what lies between is measured; -1 is the opposite, where
            there is one. Clamped to where the picture is not damaged.
        arm: "image", "text" or "joint"; what suits the model by default.
        level: how far up the text and joint arms go; likewise.
        steps: of the model's whole grid for those arms; likewise.
        progress: told about each step.

    Returns:
        One result, or a list where `encode` was given a list.

    Raises:
        ConfigError: a direction of another model, a strength that is no finite number, an unknown arm.
    """
    results = _slide(latent, direction, [strength], arm=arm, level=level, steps=steps, progress=progress)[0]
    return results if latent.listed else results[0]


@torch.no_grad()
def sweep(
    latent: JointLatent,
    direction: Direction,
    *,
    strengths: Sequence[float],
    arm: Arm | None = None,
    level: float | None = None,
    steps: int | None = None,
    progress: Progress | None = None,
) -> list[EditResult] | list[list[EditResult]]:
    """Move pictures by a direction to several strengths, in one batched pass.

    Args:
        latent: from `encode`.
        direction: from `identify`.
        strengths: in any order; the rest as in `manipulate`.
        arm: see there, as are the following.
        level: see there.
        steps: see there.
        progress: see there.

    Returns:
        A result for each strength; a list of them for each picture where `encode` was given a list.

    Raises:
        ConfigError: as `manipulate`, or no strength at all.
    """
    if not strengths:
        raise ConfigError("expected at least one strength; got none")
    rows = _slide(latent, direction, strengths, arm=arm, level=level, steps=steps, progress=progress)
    columns = [list(column) for column in zip(*rows, strict=True)]
    return columns if latent.listed else columns[0]


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
    pictures = [picture] if isinstance(picture, PictureLike) else [open_picture(item) for item in picture]
    targets = one_each(to, len(pictures), "target caption")
    captions = [None] * len(pictures) if caption is None else one_each(caption, len(pictures), "caption")
    opened = [open_picture(item) for item in pictures]
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
    target = _embedded(latent, targets)
    unknown = torch.full((len(latent),), torch.nan)

    def run() -> list[Moved]:
        if isinstance(editor, EIM) and strength != 0:  # the one editor whose strength has a unit
            direction = editor.direction(latent, target, seed=seed, progress=progress)
            return editor.slider(latent, direction, seed=seed, progress=progress).edit([strength])
        z = editor.edit(latent, target, strength=strength, seed=seed, progress=progress)
        return [Moved(z=z, strength=strength, measured=unknown, limit=unknown)]

    request = Request(method=editor.name, settings=to_plain(editor), seed=seed, target=target, target_captions=targets)
    return measured(latent, request, run)[0]


def _slide(
    latent: JointLatent,
    direction: Direction,
    strengths: Sequence[float],
    *,
    arm: Arm | None,
    level: float | None,
    steps: int | None,
    progress: Progress | None,
) -> list[list[EditResult]]:
    """Results by strength and picture, from the slider that the latent keeps."""
    stored = _stored_eim(latent.backbone)
    editor = dataclasses.replace(
        stored,
        arm=stored.arm if arm is None else arm,
        level=stored.level if level is None else level,
        steps=stored.steps if steps is None else steps,
    )
    seed = int(direction.settings.get("seed", 0))
    moved_by = (editor.arm, editor.level, editor.steps)
    known: tuple[Direction, Slider] | None = latent.known.get(moved_by)
    if known is None or known[0] is not direction or known[1].latent is not latent:
        known = direction, editor.slider(latent, direction, seed=seed)
    slider = known[1].told(progress)
    latent.known[moved_by] = direction, slider
    request = Request(
        method="eim",
        settings={
            "direction": {"method": direction.method, **direction.settings},
            **dict(zip(("arm", "level", "steps"), moved_by, strict=True)),
        },
        seed=seed,
        target=latent.condition + direction.condition.expand(len(latent)),
        target_captions=direction.target_captions * (len(latent) if len(direction.target_captions) == 1 else 1),
    )
    return measured(latent, request, lambda: slider.edit(strengths))


def _embedded(latent: JointLatent, targets: Sequence[str]) -> Condition:
    """The targets as conditions, their phrases in the order of the source captions, so that tokens stay in place."""
    pairs = zip(latent.captions, targets, strict=True)
    return latent.backbone.embed([align_captions(source, target)[1] for source, target in pairs])


def _by_shape(frames: Sequence[Frame]) -> list[list[int]]:
    groups: dict[tuple[int, ...], list[int]] = {}
    for index, frame in enumerate(frames):
        groups.setdefault(tuple(frame.pixels.shape), []).append(index)
    return list(groups.values())


def _stored_eim(model: Backbone) -> EIM:
    return EIM.from_dict(stored_settings(EIM.name, model))
