"""The front door: load, encode, identify, manipulate, edit. Everything below runs without gradients."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import torch

from latentedit.api.manipulate import note_found, run_editor, slide
from latentedit.api.manner import Manner, stored_eim
from latentedit.api.measure import metered
from latentedit.api.result import EditResult
from latentedit.core.errors import ConfigError
from latentedit.core.progress import Progress
from latentedit.directions.base import Direction
from latentedit.directions.composition import Mixing
from latentedit.directions.hsds import HSDS
from latentedit.directions.identification import identify as identify_hsds
from latentedit.directions.text import embed_aligned
from latentedit.editors.base import Editor, check_strength
from latentedit.editors.eim import EIM
from latentedit.editors.registry import make_editor
from latentedit.editors.slider import Arm
from latentedit.latents.captions.base import Captioner
from latentedit.latents.captions.targets import ChangeLike, target_captions
from latentedit.latents.encode import PictureLike, encode_frames, fit_all, one_each, open_picture
from latentedit.latents.joint import JointLatent
from latentedit.latents.masks import MaskLike
from latentedit.latents.pictures import Frame
from latentedit.models import registry as backbone_registry
from latentedit.models.base import Backbone

_ROUNDING = 1e-9
"""Of strengths that add up."""


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
    to: str | Sequence[str] | None = None,
    change: ChangeLike | Sequence[ChangeLike] | None = None,
    method: HSDS | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Direction:
    """Find the direction from the pictures' captions to another text.

    Args:
        latent: from `encode`.
        to: full captions of what is wanted, one or one a picture.
        change: instead of ``to``, "OLD => NEW" in the captions; either side may be empty. Several are one direction.
        method: settings; those that suit the model by default.
        seed: of the noises.
        progress: told about each step.

    Raises:
        ConfigError: an empty caption, a change that the captions do not allow, or a target that means the same.
    """
    targets = target_captions(latent.backbone, latent.captions, to=to, change=change)
    config = method if method is not None else stored_eim(latent.backbone).search
    target = embed_aligned(latent.backbone, latent.captions, targets)
    direction = identify_hsds(latent, target, config, seed=seed, progress=progress)
    if not bool(direction.length.any()):
        raise ConfigError(
            "expected a target caption that says something else than the source caption; got a direction of zero "
            f"length from {latent.captions[0]!r} to {targets[0]!r}. Name what should change"
        )
    note_found(latent, direction)
    return dataclasses.replace(direction, target_captions=targets)


@torch.no_grad()
def manipulate(
    latent: JointLatent,
    direction: Direction | Sequence[Direction],
    *,
    strength: float | Sequence[float] = 1.0,
    mixing: Mixing = "sum",
    local: bool = True,
    arm: Arm | None = None,
    level: float | None = None,
    steps: int | None = None,
    progress: Progress | None = None,
) -> EditResult | list[EditResult]:
    """Move pictures by a direction, or by several at once.

    What is found out on the way (inversion, effects, range) stays with the latent and serves the next strength.

    Args:
        latent: from `encode`, or of an earlier result (`EditResult.latent`), to go on from there or back.
        direction: from `identify` or a file; several are put together.
        strength: 0 is the picture itself, 1 the whole change, what lies between is measured; -1 is the opposite, where
            there is one, and takes back a change that was made. Clamped to where the picture is not damaged. Of several
            directions, one for all or one each.
        mixing: what is done about the cross-talk of several: "sum", "inverse" or "projection"; see
            `directions.composition`.
        local: keep the change to where it is strong, so that the rest of the picture stays as it is in the file.
        arm: "image", "text" or "joint"; by default what suits the model, and directions found on other pictures.
        level: how far up the text and joint arms go; likewise.
        steps: of the model's whole grid for those arms; likewise.
        progress: told about each step.

    Returns:
        One result, or a list where `encode` was given a list.

    Raises:
        ConfigError: a direction of another model, directions that contradict each other, a strength that is no finite
            number, an unknown arm or mixing.
    """
    directions, shares, whole = _shared(latent, direction, strength)
    manner = Manner.of(latent, directions, arm=arm, level=level, steps=steps, mixing=mixing, local=local)
    results = slide(latent, directions, shares, [whole], manner, progress=progress)[0]
    return results if latent.listed else results[0]


@torch.no_grad()
def sweep(
    latent: JointLatent,
    direction: Direction | Sequence[Direction],
    *,
    strengths: Sequence[float],
    mixing: Mixing = "sum",
    local: bool = True,
    arm: Arm | None = None,
    level: float | None = None,
    steps: int | None = None,
    progress: Progress | None = None,
) -> list[EditResult] | list[list[EditResult]]:
    """Move pictures by a direction to several strengths, in one batched pass.

    Args:
        latent: from `encode`.
        direction: from `identify` or a file; several are put together in equal shares.
        strengths: in any order; the rest as in `manipulate`.
        mixing: see there, as are the following.
        local: see there.
        arm: see there.
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
    directions = [direction] if isinstance(direction, Direction) else list(direction)
    manner = Manner.of(latent, directions, arm=arm, level=level, steps=steps, mixing=mixing, local=local)
    rows = slide(latent, directions, [1.0] * len(directions), strengths, manner, progress=progress)
    columns = [list(column) for column in zip(*rows, strict=True)]
    return columns if latent.listed else columns[0]


@torch.no_grad()
def edit(
    model: Backbone,
    picture: PictureLike | Sequence[PictureLike],
    *,
    to: str | Sequence[str] | None = None,
    change: ChangeLike | Sequence[ChangeLike] | None = None,
    caption: str | Sequence[str] | None = None,
    captioner: str | Captioner | None = None,
    mask: MaskLike | None = None,
    strength: float = 1.0,
    method: str | Editor = "eim",
    local: bool | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> EditResult | list[EditResult]:
    """Edit pictures towards a text: encode, then any editor by name or with settings of one's own.

    Args:
        model: from `load`.
        picture: one, or a list; a list runs as one batch for each size that the model needs.
        to: full captions of what is wanted, one or one a picture.
        change: instead of ``to``, "OLD => NEW" in the captions; several are made together.
        caption: what the pictures show; read where it is not given.
        captioner: who reads it; the model's own by default.
        mask: where the pictures may change, white for yes; a picture of their size. Everywhere by default.
        strength: 0 is the picture itself, 1 the whole change.
        method: an editor's name (its settings are then those that suit the model), or an editor.
        local: keep the change to where it is strong; by default so for eim, and not for the other methods, which are
            left as their authors describe them.
        seed: of every random number.
        progress: told about each step.

    Returns:
        One result, or a list in the order of the pictures.

    Raises:
        LatentEditError: any input that makes no sense, in words for the user.
    """
    check_strength(strength)
    editor = make_editor(method, model) if isinstance(method, str) else method
    local = isinstance(editor, EIM) if local is None else local
    opened = [open_picture(item) for item in ([picture] if isinstance(picture, PictureLike) else picture)]
    wanted = None if to is None else one_each(to, len(opened), "target caption")
    captions = [None] * len(opened) if caption is None else one_each(caption, len(opened), "caption")
    results: dict[int, EditResult] = {}
    frames = fit_all(model, opened, mask=mask)
    for group in _by_shape(frames):
        named = [text for index in group if (text := captions[index]) is not None]
        chosen = [frames[index] for index in group]
        latent = encode_frames(model, chosen, caption=named or None, captioner=captioner)
        given = None if wanted is None else [wanted[index] for index in group]
        targets = target_captions(model, latent.captions, to=given, change=change)
        made = _edited(latent, targets, editor, strength=strength, local=local, seed=seed, progress=progress)
        results |= dict(zip(group, made, strict=True))
    ordered = [results[index] for index in range(len(opened))]
    return ordered[0] if isinstance(picture, PictureLike) else ordered


def _edited(
    latent: JointLatent,
    targets: tuple[str, ...],
    editor: Editor,
    *,
    strength: float,
    local: bool,
    seed: int,
    progress: Progress | None,
) -> list[EditResult]:
    if not isinstance(editor, EIM) or strength == 0:
        return run_editor(editor, latent, targets, strength=strength, seed=seed, local=local, progress=progress)
    with metered(latent.backbone) as meter:
        target = embed_aligned(latent.backbone, latent.captions, targets)
        direction = editor.direction(latent, target, seed=seed, progress=progress)
        direction = dataclasses.replace(direction, target_captions=targets)
        manner = Manner(arm=editor.arm, level=editor.level, steps=editor.steps, local=local)
        return slide(latent, [direction], [1.0], [strength], manner, progress=progress, meter=meter)[0]


def _shared(
    latent: JointLatent, direction: Direction | Sequence[Direction], strength: float | Sequence[float]
) -> tuple[list[Direction], list[float], float]:
    """Directions, the share of each, and the strength of the whole."""
    directions = [direction] if isinstance(direction, Direction) else list(direction)
    if isinstance(strength, Sequence) or len(directions) != 1:
        shares = list(strength) if isinstance(strength, Sequence) else [strength] * len(directions)
        if len(shares) != len(directions):
            raise ConfigError(f"expected one strength, or one for each of {len(directions)}; got {len(shares)}")
        for share in shares:
            check_strength(share)
        if len(directions) != 1:
            return directions, [float(share) for share in shares], 1.0
        strength = shares[0]
    said = directions[0].target_captions == latent.captions
    if strength < 0 and (said or _made(latent, directions[0]) >= -strength - _ROUNDING):
        return directions, [-1.0], -float(strength)  # the way back from a change that was made: the reverse, forwards
    return directions, [1.0], float(strength)


def _made(latent: JointLatent, direction: Direction) -> float:
    """How much of a direction was applied on the way to this latent."""
    total, record, fingerprint = 0.0, latent.made_by, direction.fingerprint
    while record is not None:
        strengths = (told.strength for told in record.directions if told.fingerprint == fingerprint)
        total, record = total + record.strengths[0] * sum(strengths), record.before
    return total


def _by_shape(frames: Sequence[Frame]) -> list[list[int]]:
    groups: dict[tuple[int, ...], list[int]] = {}
    for index, frame in enumerate(frames):
        groups.setdefault(tuple(frame.pixels.shape), []).append(index)
    return list(groups.values())
