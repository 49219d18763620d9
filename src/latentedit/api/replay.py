"""Make a result again from its record, and say what is not as it was."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from latentedit.api.request import EditRequest
from latentedit.api.result import EditResult
from latentedit.api.session import SEARCHED, Session, search_of, seed_of
from latentedit.core.errors import ConfigError
from latentedit.core.progress import Progress
from latentedit.directions.direction import Direction
from latentedit.directions.identification import identify
from latentedit.directions.text import embed_targets
from latentedit.editors.base import Editor
from latentedit.editors.eim import EIM
from latentedit.editors.registry import editor_class
from latentedit.latents.encode import PictureLike, encode_frames, fit_all, open_picture
from latentedit.latents.guard import examined
from latentedit.latents.joint import JointLatent
from latentedit.latents.masks import MaskLike
from latentedit.latents.pictures import Frame, Picture
from latentedit.latents.record import DirectionRecord, PictureRecord, RunRecord, mask_fingerprint
from latentedit.models.base import Backbone

Kind = TypeVar("Kind", bound=Editor)


def replay(
    record: RunRecord,
    model: Backbone,
    picture: PictureLike,
    *,
    directions: Sequence[Direction] = (),
    mask: MaskLike | None = None,
    beside: Sequence[PictureLike] = (),
    progress: Progress | None = None,
) -> list[EditResult]:
    """Do again what a record says, one result a strength.

    Args:
        model: as the record names it.
        picture: that was edited; by whatever name, the new record has the old one's.
        directions: those that came from files.
        mask: that was used, where one was.
        beside: the further pictures that the model saw, in their order.

    Raises:
        ConfigError: another picture, mask or model than the record's, other pictures beside, a direction that is
            missing, or settings that no editor has.
        ImageError: a file that is no picture, or a mask that does not fit it.
    """
    opened = _named(picture, record.picture)
    record.check_picture(opened)
    if model.fingerprint != record.model.fingerprint:
        raise ConfigError(
            f"{model.name!r} ({model.fingerprint}) is not the model of the record, {record.model.name!r} "
            f"({record.model.fingerprint}). Name that model with `model`"
        )
    (frame,) = fit_all(model, [opened], mask=mask)
    _check_mask(record, frame, mask)
    if [open_picture(one).fingerprint for one in beside] != [one.fingerprint for one in record.beside]:
        names = ", ".join(repr(one.name) for one in record.beside) or "none"
        raise ConfigError(
            f"the pictures that the model saw beside this one are {names}; got {len(beside)}, and not those. Give them "
            "in their order with `beside`"
        )
    others = [_named(one, told) for one, told in zip(beside, record.beside, strict=True)]
    return replay_frame(record, model, frame, directions=directions, beside=others, progress=progress)


def replay_frame(
    record: RunRecord,
    model: Backbone,
    frame: Frame,
    *,
    directions: Sequence[Direction],
    beside: Sequence[Picture],
    progress: Progress | None,
) -> list[EditResult]:
    """The same for what is known to be the record's: model, picture with its mask, and pictures beside.

    Raises:
        ConfigError: a direction that is missing, or settings that no editor has.
    """
    known = {direction.fingerprint: direction for direction in directions}
    return _again(record, _latent_before(record, model, frame, known, beside), known, progress)


def differences(record: RunRecord, now: RunRecord) -> list[str]:
    """What is not as it was when the record was written: versions, machine, directions; one clause each."""
    found = [
        f"{name} was {record.versions.get(name, 'not there')}, is {now.versions.get(name, 'not there')}"
        for name in sorted({*record.versions, *now.versions})
        if record.versions.get(name) != now.versions.get(name)
    ]
    found += [
        f"{what} was {was}, is {is_now}"
        for what, was, is_now in (
            ("the network's dtype", record.model.dtype, now.model.dtype),
            ("the device", record.model.device, now.model.device),
        )
        if was != is_now
    ]
    pairs = zip(record.directions, now.directions, strict=False)
    return found + [
        f"direction {index} was {was.fingerprint}, is found as {again.fingerprint}"
        for index, (was, again) in enumerate(pairs, start=1)
        if was.fingerprint != again.fingerprint
    ]


def _named(picture: PictureLike, record: PictureRecord) -> Picture:
    """The picture under the name that the record has for it."""
    return dataclasses.replace(open_picture(picture), path=Path(record.name) if record.name else None)


def _check_mask(record: RunRecord, frame: Frame, mask: MaskLike | None) -> None:
    if mask_fingerprint(frame.allowed) == record.picture.mask:
        return
    if record.picture.mask is None:
        raise ConfigError("a mask is given, and none was used. Leave `mask` out")
    problem = "a mask was used, and none is given" if mask is None else "this is another mask than was used"
    raise ConfigError(f"{problem}. Give the one that was used with `mask`")


def _latent_before(
    record: RunRecord,
    model: Backbone,
    frame: Frame,
    known: dict[str, Direction],
    beside: Sequence[Picture],
) -> JointLatent:
    """The pictures as the edit met them: encoded, and moved by the edits before it."""
    if record.before is None:
        return examined(
            encode_frames(model, [frame], caption=record.caption, instructed=record.instructed, beside=beside)
        )
    latent = _latent_before(record.before, model, frame, known, beside)
    return _again(record.before, latent, known, None)[0].latent


def _again(
    record: RunRecord, latent: JointLatent, known: dict[str, Direction], progress: Progress | None
) -> list[EditResult]:
    session, editor = Session(latent), _editor(editor_class(record.method), record)
    wanted: dict[str, Any] = {"to": record.target_caption}
    if record.directions:
        if type(editor) is not EIM:
            raise ConfigError(f"the method {record.method!r} of the record takes no directions. Edit the picture again")
        directions = [_direction(one, session, editor, known, progress) for one in record.directions]
        wanted = {"direction": tuple(directions), "strength": tuple(one.strength for one in record.directions)}
    elif record.instructed:
        wanted = {"instruction": (record.target_caption,)}
    how: dict[str, Any] = {"mixing": record.mixing, "local": record.local, "seed": record.seed}
    request = EditRequest(method=editor, **how, **wanted)
    return [row[0] for row in session.run(request, record.strengths, progress=progress)]


def _editor(kind: type[Kind], record: RunRecord) -> Kind:
    try:
        return kind.from_dict(record.settings)
    except (TypeError, KeyError, IndexError) as error:
        raise ConfigError(
            f"the record has settings that {record.method!r} does not take. Edit the picture again"
        ) from error


def _direction(
    record: DirectionRecord,
    session: Session,
    editor: EIM,
    known: dict[str, Direction],
    progress: Progress | None,
) -> Direction:
    """The direction that came from a file or an earlier edit, or else found again."""
    if record.fingerprint in known:
        return known[record.fingerprint]
    if record.given:
        raise ConfigError(
            f"the direction {record.fingerprint} was not found on this picture, and no file of that fingerprint was "
            "given. Give its file with `directions`"
        )
    latent, seed, targets = session.latent, seed_of(record.settings), (record.target_caption,)
    target = embed_targets(latent, targets)
    if record.method == SEARCHED:
        direction = identify(latent, target, search_of(record.settings), seed=seed, progress=progress)
    else:
        direction = dataclasses.replace(editor, arm="text").direction(latent, target, seed=seed)
    known[record.fingerprint] = dataclasses.replace(direction, target_captions=targets)
    return known[record.fingerprint]
