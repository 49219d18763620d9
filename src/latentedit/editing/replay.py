"""Make a result again from its record, and name what is not as it was."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from latentedit.core.errors import ConfigError
from latentedit.core.progress import Progress
from latentedit.directions.direction import Direction
from latentedit.directions.identification import identify
from latentedit.directions.text import embed_targets
from latentedit.editing.manipulation import SEARCHED, search_of, seed_of
from latentedit.editing.request import EditRequest
from latentedit.editing.result import EditResult
from latentedit.editing.session import Session
from latentedit.editors.eim import EIM
from latentedit.editors.registry import check_moves_along, editor_class
from latentedit.guard.guard import check_familiarity
from latentedit.latents.encode import PictureLike, encode_frames, fit_all, open_picture
from latentedit.latents.joint import JointLatent
from latentedit.latents.pictures import Frame, MaskLike, Picture
from latentedit.latents.record import DirectionRecord, PictureRecord, RunRecord, mask_fingerprint
from latentedit.models.base import Backbone


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
    """Make a result again, one for each strength of its record.

    Args:
        record: of the result.
        model: the record's model.
        picture: the source image; its name does not matter, the new record has the old one's.
        directions: those that came from files.
        mask: the mask of the edit, if any.
        beside: the reference images of the edit, in their order.
        progress: called after each step.

    Raises:
        ConfigError: another image, mask or model than the record's, other reference images, a missing direction, or
            settings that the editor does not take.
        ImageError: a file that is no image, or a mask that does not fit it.
    """
    opened = _named(picture, record.picture)
    record.check_picture(opened)
    if model.fingerprint != record.model.fingerprint:
        raise ConfigError(
            f"{model.name!r} ({model.fingerprint}) is not the model of the record, {record.model.name!r} "
            f"({record.model.fingerprint}). Name that model with `model`"
        )
    (frame,) = fit_all(model, [opened], mask=mask)
    if mask_fingerprint(frame.allowed) != record.picture.mask:
        if record.picture.mask is None:
            raise ConfigError("a mask is given, and none was used. Leave `mask` out")
        problem = "a mask was used, and none is given" if mask is None else "this is another mask than was used"
        raise ConfigError(f"{problem}. Give the one that was used with `mask`")
    if [open_picture(one).fingerprint for one in beside] != [one.fingerprint for one in record.beside]:
        names = ", ".join(repr(one.name) for one in record.beside) or "none"
        raise ConfigError(
            f"the pictures that the model saw beside this one are {names}; got {len(beside)}, and not those. Give them "
            "in their order with `beside`"
        )
    references = [_named(one, known) for one, known in zip(beside, record.beside, strict=True)]
    found = {direction.fingerprint: direction for direction in directions}
    return _again(record, _latent_before(record, model, frame, references, found), found, progress)


def differences(record: RunRecord, now: RunRecord) -> list[str]:
    """What changed since the record was written: versions, machine, directions; one clause each."""
    was, are = record.versions, now.versions
    changes = [(name, was.get(name, "not there"), are.get(name, "not there")) for name in sorted({*was, *are})]
    changes.append(("the network's dtype", record.model.dtype, now.model.dtype))
    changes.append(("the device", record.model.device, now.model.device))
    found = [f"{what} was {before}, is {after}" for what, before, after in changes if before != after]
    pairs = zip(record.directions, now.directions, strict=False)
    return found + [
        f"direction {index} was {before.fingerprint}, is found as {after.fingerprint}"
        for index, (before, after) in enumerate(pairs, start=1)
        if before.fingerprint != after.fingerprint
    ]


def _named(picture: PictureLike, record: PictureRecord) -> Picture:
    """The image under the name that the record has for it."""
    return dataclasses.replace(open_picture(picture), path=Path(record.name) if record.name else None)


def _latent_before(
    record: RunRecord, model: Backbone, frame: Frame, beside: Sequence[Picture], found: dict[str, Direction]
) -> JointLatent:
    """The latent of the image as the edit met it: encoded, and moved by the edits before."""
    if record.before is not None:
        latent = _latent_before(record.before, model, frame, beside, found)
        return _again(record.before, latent, found, None)[0].latent
    return check_familiarity(
        encode_frames(model, [frame], caption=record.caption, instructed=record.instructed, beside=beside)
    )


def _again(
    record: RunRecord, latent: JointLatent, found: dict[str, Direction], progress: Progress | None
) -> list[EditResult]:
    kind = editor_class(record.method)
    if record.directions:
        check_moves_along(kind)
    try:
        editor = kind.from_dict(record.settings)
    except (TypeError, KeyError, IndexError) as error:
        raise ConfigError(
            f"the record has settings that {record.method!r} does not take. Edit the picture again"
        ) from error
    wanted: dict[str, Any] = {"to": record.target_caption}
    if isinstance(editor, EIM) and record.directions:
        directions = [_direction(one, latent, editor, found, progress) for one in record.directions]
        wanted = {"direction": tuple(directions), "strength": tuple(one.strength for one in record.directions)}
    elif record.instructed:
        wanted = {"instruction": (record.target_caption,)}
    request = EditRequest(method=editor, mixing=record.mixing, local=record.local, seed=record.seed, **wanted)
    return [row[0] for row in Session(latent).run(request, record.strengths, progress=progress)]


def _direction(
    record: DirectionRecord,
    latent: JointLatent,
    editor: EIM,
    found: dict[str, Direction],
    progress: Progress | None,
) -> Direction:
    """The direction that came from a file or an earlier edit, or else identified again."""
    if record.fingerprint in found:
        return found[record.fingerprint]
    if record.given:
        raise ConfigError(
            f"the direction {record.fingerprint} was not found on this picture, and no file of that fingerprint was "
            "given. Give its file with `directions`"
        )
    seed, targets = seed_of(record.settings), (record.target_caption,)
    target = embed_targets(latent, targets)
    if record.method == SEARCHED:
        direction = identify(latent, target, search_of(record.settings), seed=seed, progress=progress)
    else:
        direction = dataclasses.replace(editor, arm="text").direction(latent, target, seed=seed)
    found[record.fingerprint] = dataclasses.replace(direction, target_captions=targets)
    return found[record.fingerprint]
