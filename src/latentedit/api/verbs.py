"""The front door: encode, identify, manipulate, edit. Everything below runs without gradients."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict, Unpack, overload

import torch

from latentedit.api.request import EditRequest, one_or_more
from latentedit.api.result import EditResult
from latentedit.api.session import MoveOptions, Session, SweepOptions
from latentedit.core.errors import ConfigError
from latentedit.core.progress import Progress
from latentedit.directions.composition import check_mixing
from latentedit.directions.direction import Direction, found_under_no_text, load_direction
from latentedit.directions.hsds import HSDS
from latentedit.editors.base import Editor
from latentedit.editors.eim import EIM
from latentedit.editors.registry import make_editor
from latentedit.latents.captions.base import Captioner, captioner_for
from latentedit.latents.captions.targets import ChangeLike
from latentedit.latents.encode import PictureLike, encode_frames, fit_all, one_each, open_picture
from latentedit.latents.guard import guarded
from latentedit.latents.joint import JointLatent
from latentedit.latents.masks import MaskLike
from latentedit.latents.pictures import Frame
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
        change=one_or_more(change, ChangeLike),
        instruction=one_or_more(instruction, str),
        direction=one_or_more(direction, Direction),
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


def edit_pictures(
    model: Backbone, pictures: Sequence[PictureLike], request: EditRequest, *, progress: Progress | None = None
) -> list[EditResult]:
    """`run` at the request's own strength: one result per picture."""
    return [made for (made,) in run(model, pictures, request, progress=progress)]


@torch.no_grad()
def run(
    model: Backbone,
    pictures: Sequence[PictureLike],
    request: EditRequest,
    strengths: Sequence[float] | None = None,
    *,
    progress: Progress | None = None,
) -> list[list[EditResult]]:
    """Encode pictures and do what a request says; see `Session.run`.

    Pictures that the model takes at one size share a batch. Directions that are put together are found and applied
    picture by picture: what suits them depends on the pictures that they meet.

    Args:
        pictures: of any sizes.
        request: of all of them.
        strengths: as of `Session.run`.

    Returns:
        For each picture one result per strength.

    Raises:
        LatentEditError: any input that makes no sense, in words for the user.
    """
    request.check_wanted()
    request = read_directions(request, model)
    opened = [open_picture(picture) for picture in pictures]
    captions = [None] * len(opened) if request.caption is None else one_each(request.caption, len(opened), "caption")
    to = None if request.to is None else one_each(request.to, len(opened), "target caption")
    frames = fit_all(model, opened, mask=request.mask)
    apart = composes(request, model)
    results: dict[int, list[EditResult]] = {}
    for group in [[index] for index in range(len(opened))] if apart else _by_shape(frames):
        caption = [text for index in group if (text := captions[index]) is not None]
        unread = not caption and _needs_no_caption(model, request)
        latent = encode_frames(
            model,
            [frames[index] for index in group],
            caption="" if unread else caption or None,
            captioner=request.captioner,
            instructed=request.instructed,
            beside=request.beside,
        )
        own = dataclasses.replace(request, to=None if to is None else tuple(to[index] for index in group))
        rows = Session(guarded(latent, anyway=request.anyway)).run(own, strengths, progress=progress)
        results |= {index: [row[place] for row in rows] for place, index in enumerate(group)}
    return [results[index] for index in range(len(opened))]


def composes(request: EditRequest, model: Backbone) -> bool:
    """Whether directions are put together, each at its strength: given ones, or, by `eim`, one of each change."""
    if request.direction or not request.several:
        return bool(request.direction)
    return type(make_editor(request.method, model, instructed=request.instructed)) is EIM


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
