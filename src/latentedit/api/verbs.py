"""The front door: encode, identify, manipulate, edit. Everything below runs without gradients."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict, Unpack, overload

import torch

from latentedit.api.measure import metered
from latentedit.api.request import EditRequest
from latentedit.api.result import EditResult
from latentedit.api.session import MoveOptions, Session, SweepOptions
from latentedit.core.errors import ConfigError
from latentedit.core.progress import Progress
from latentedit.directions.at_level import found_under_no_text
from latentedit.directions.base import Direction
from latentedit.directions.composition import check_mixing
from latentedit.directions.direction_file import load_direction
from latentedit.directions.hsds import HSDS
from latentedit.editors.base import Editor
from latentedit.editors.eim import EIM
from latentedit.editors.registry import make_editor
from latentedit.editors.slider import Arm
from latentedit.latents.captions.base import Captioner, captioner_for
from latentedit.latents.captions.targets import ChangeLike, wanted_texts
from latentedit.latents.encode import PictureLike, encode, encode_frames, fit_all, one_each, open_picture
from latentedit.latents.guard import guarded
from latentedit.latents.joint import JointLatent
from latentedit.latents.masks import MaskLike
from latentedit.latents.pictures import Frame, Picture
from latentedit.latents.record import Mixing
from latentedit.models.base import Backbone


def identify(
    latent: JointLatent,
    *,
    to: str | Sequence[str] | None = None,
    change: ChangeLike | Sequence[ChangeLike] | None = None,
    instruction: str | Sequence[str] | None = None,
    method: HSDS | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Direction:
    """Find the direction from the captions of pictures to another text; see `Session.identify`."""
    return Session(latent).identify(
        to=to, change=change, instruction=instruction, method=method, seed=seed, progress=progress
    )


def manipulate(
    latent: JointLatent,
    direction: Direction | Sequence[Direction],
    *,
    strength: float | Sequence[float] = 1.0,
    **options: Unpack[MoveOptions],
) -> EditResult:
    """Move one picture by a direction, or by several at once; see `Session.manipulate`.

    What is found out on the way is forgotten: a `Session` keeps it for the next strength, and takes several pictures.

    Raises:
        ConfigError: as `Session.manipulate`, or several pictures.
    """
    _check_one(latent)
    return Session(latent).manipulate(direction, strength=strength, **options)[0]


def sweep(
    latent: JointLatent,
    direction: Direction | Sequence[Direction] | None = None,
    *,
    strengths: Sequence[float],
    **options: Unpack[SweepOptions],
) -> list[EditResult]:
    """Move one picture to several strengths: along a direction, or by any editor towards a text.

    See `Session.sweep`, which takes several pictures.

    Raises:
        ConfigError: as `Session.sweep`, or several pictures.

    Example:
        sweep(latent, glasses, strengths=[0, 0.5, 1])
        sweep(latent, change="=> glasses", method="flowslider", strengths=[0, 0.5, 1])
    """
    _check_one(latent)
    return Session(latent).sweep(direction, strengths=strengths, **options)[0]


class _EditOptions(TypedDict, total=False):
    """What `edit` takes of one picture and of several alike."""

    change: ChangeLike | Sequence[ChangeLike] | None
    instruction: str | Sequence[str] | None
    direction: Direction | Sequence[Direction | Path] | None
    captioner: str | Captioner | None
    beside: Sequence[PictureLike]
    mask: MaskLike | None
    strength: float | Sequence[float]
    method: str | Editor | None
    mixing: Mixing
    local: bool | None
    seed: int
    anyway: bool
    progress: Progress | None


class _Search(TypedDict):
    """How directions are looked for; see `Session.identify`."""

    method: HSDS | None
    seed: int
    progress: Progress | None


@overload
def edit(
    model: Backbone,
    picture: PictureLike,
    *,
    to: str | None = None,
    caption: str | None = None,
    **options: Unpack[_EditOptions],
) -> EditResult: ...


@overload
def edit(
    model: Backbone,
    picture: list[PictureLike] | list[str] | list[Path] | tuple[PictureLike, ...],
    *,
    to: str | Sequence[str] | None = None,
    caption: str | Sequence[str] | None = None,
    **options: Unpack[_EditOptions],
) -> list[EditResult]: ...


def edit(
    model: Backbone,
    picture: PictureLike | Sequence[PictureLike],
    *,
    to: str | Sequence[str] | None = None,
    change: ChangeLike | Sequence[ChangeLike] | None = None,
    instruction: str | Sequence[str] | None = None,
    direction: Direction | Sequence[Direction | Path] | None = None,
    caption: str | Sequence[str] | None = None,
    captioner: str | Captioner | None = None,
    beside: Sequence[PictureLike] = (),
    mask: MaskLike | None = None,
    strength: float | Sequence[float] = 1.0,
    method: str | Editor | None = None,
    mixing: Mixing = "sum",
    local: bool | None = None,
    seed: int = 0,
    anyway: bool = True,
    progress: Progress | None = None,
) -> EditResult | list[EditResult]:
    """Edit pictures as ``latentedit edit`` does.

    Args:
        picture: one, or a list; a list runs as one batch for each size that the model needs.
        to: as for `EditRequest`, as are the following.
        change: one or several.
        instruction: one or several, for a model that sees the pictures.
        direction: one or several.

    Returns:
        One result, or a list in the order of the pictures.

    Raises:
        LatentEditError: any input that makes no sense, in words for the user.
    """
    request = EditRequest(
        to=to if to is None or isinstance(to, str) else tuple(to),
        change=() if change is None else (change,) if isinstance(change, ChangeLike) else tuple(change),
        instruction=()
        if instruction is None
        else (instruction,)
        if isinstance(instruction, str)
        else tuple(instruction),
        direction=() if direction is None else (direction,) if isinstance(direction, Direction) else tuple(direction),
        caption=caption if caption is None or isinstance(caption, str) else tuple(caption),
        captioner=captioner,
        beside=tuple(beside),
        mask=mask,
        strength=tuple(strength) if isinstance(strength, Sequence) else (strength,),
        method=method,
        mixing=mixing,
        local=local,
        seed=seed,
        anyway=anyway,
    )
    if isinstance(picture, PictureLike):
        return edit_pictures(model, [picture], request, progress=progress)[0]
    return edit_pictures(model, picture, request, progress=progress)


def read_directions(request: EditRequest, model: Backbone | None = None) -> EditRequest:
    """The request with the files of its directions read, on the device of the model where there is one already.

    Raises:
        ConfigError: an unknown mixing, or a direction of another model.
        FileFormatError: a file that is no direction.
    """
    check_mixing(request.mixing)
    read = [load_direction(one) if isinstance(one, Path) else one for one in request.direction]
    return dataclasses.replace(request, direction=tuple(read if model is None else (_on(one, model) for one in read)))


@torch.no_grad()
def edit_pictures(
    model: Backbone, pictures: Sequence[PictureLike], request: EditRequest, *, progress: Progress | None = None
) -> list[EditResult]:
    """Do what a request says, one result a picture.

    Pictures that the model takes at one size share a batch. Directions that are put together are found and applied
    picture by picture: what suits them depends on the pictures that they meet.

    Args:
        pictures: of any sizes.
        request: of all of them.

    Raises:
        LatentEditError: any input that makes no sense, in words for the user.
    """
    request.check_wanted()
    request = read_directions(request, model)
    opened = [open_picture(picture) for picture in pictures]
    captions = [None] * len(opened) if request.caption is None else one_each(request.caption, len(opened), "caption")
    if composes(request, model):
        each = zip(opened, captions, strict=True)
        return [_edit_along(model, picture, caption, request, progress) for picture, caption in each]
    to = None if request.to is None else one_each(request.to, len(opened), "target caption")
    results: dict[int, EditResult] = {}
    frames = fit_all(model, opened, mask=request.mask)
    for group in _by_shape(frames):
        caption = [text for index in group if (text := captions[index]) is not None]
        latent = encode_frames(
            model,
            [frames[index] for index in group],
            caption=caption or None,
            captioner=request.captioner,
            instructed=request.instructed,
            beside=request.beside,
        )
        latent = guarded(latent, anyway=request.anyway)
        wanted = None if to is None else [to[index] for index in group]
        targets = wanted_texts(
            latent, to=wanted, change=request.change or None, instruction=request.instruction or None
        )
        (made,) = Session(latent).edit(
            request.method, targets, request.strength[:1], local=request.local, seed=request.seed, progress=progress
        )
        results |= dict(zip(group, made, strict=True))
    return [results[index] for index in range(len(opened))]


@torch.no_grad()
def sweep_picture(
    model: Backbone,
    picture: PictureLike,
    request: EditRequest,
    strengths: Sequence[float],
    *,
    arm: Arm | None = None,
    progress: Progress | None = None,
) -> list[EditResult]:
    """Move a picture to several strengths: towards all that a request says together, or along its directions.

    Args:
        request: what is wanted; its strength is not used.
        strengths: in any order.
        arm: which part of the joint latent moves; what suits the model by default. Of `eim` alone.

    Raises:
        LatentEditError: any input that makes no sense, in words for the user.
    """
    request = read_directions(request, model)
    latent = encoded(model, picture, request.caption, request)
    return Session(guarded(latent, anyway=request.anyway)).sweep(
        request.loaded or None,
        strengths=strengths,
        to=request.to,
        change=request.change or None,
        instruction=request.instruction or None,
        method=request.method,
        seed=request.seed,
        mixing=check_mixing(request.mixing),
        local=request.local,
        arm=arm,
        progress=progress,
    )[0]


def composes(request: EditRequest, model: Backbone) -> bool:
    """Whether directions are put together, each at its strength: given ones, or, by `eim`, one of each change."""
    if request.direction or not request.several:
        return bool(request.direction)
    return type(make_editor(request.method, model, instructed=request.instructed)) is EIM


def _edit_along(
    model: Backbone, picture: Picture, caption: str | None, request: EditRequest, progress: Progress | None
) -> EditResult:
    """By directions, or by one of each change, put together."""
    latent = encoded(model, picture, caption, request)
    if request.change:
        wanted_texts(latent, change=request.change)  # refuses what contradicts itself
    session, (strength, *more) = Session(guarded(latent, anyway=request.anyway)), request.strength
    editor = request.method if isinstance(request.method, EIM) else None  # by name: what suits model and directions
    search: _Search = {"method": None if editor is None else editor.search, "seed": request.seed, "progress": progress}
    way: MoveOptions = {"mixing": check_mixing(request.mixing), "local": request.local, "progress": progress}
    if editor is not None:
        way |= {"arm": editor.arm, "level": editor.level, "steps": editor.steps}
    with metered(model) as meter:
        directions = request.loaded or [
            *(session.identify(change=change, **search) for change in request.change),
            *(session.identify(instruction=instruction, **search) for instruction in request.instruction),
        ]
        (result,) = session.manipulate(directions, strength=request.strength if more else strength, **way)
        evaluations, seconds = meter.read()
    spent = evaluations - result.cost.verdict_evaluations
    return dataclasses.replace(result, cost=dataclasses.replace(result.cost, evaluations=spent, seconds=seconds))


def encoded(
    model: Backbone, picture: PictureLike, caption: str | Sequence[str] | None, request: EditRequest
) -> JointLatent:
    """The picture as a request has it, but for its caption.

    Where nobody says what it shows, nor can, it is encoded under no text if the directions were found so.

    Raises:
        LatentEditError: see `encode`.
    """
    return encode(
        model,
        picture,
        caption="" if caption is None and _needs_no_caption(model, request) else caption,
        captioner=request.captioner,
        mask=request.mask,
        instructed=request.instructed,
        beside=request.beside,
    )


def _needs_no_caption(model: Backbone, request: EditRequest) -> bool:
    """Whether nobody can say what pictures show, and the directions of a request were found under no text."""
    unread = request.captioner is None and captioner_for(model) is None
    return unread and not request.instructed and found_under_no_text(request.loaded)


def _on(direction: Direction, model: Backbone) -> Direction:
    """The direction on the device of the model."""
    direction.check_model(model.name, model.fingerprint)
    return direction.to(model.device)


def _check_one(latent: JointLatent) -> None:
    if len(latent) != 1:
        raise ConfigError(f"this takes the latent of one picture; got {len(latent)} of them. Use a Session")


def _by_shape(frames: Sequence[Frame]) -> list[list[int]]:
    groups: dict[tuple[int, ...], list[int]] = {}
    for index, frame in enumerate(frames):
        groups.setdefault(tuple(frame.pixels.shape), []).append(index)
    return list(groups.values())
