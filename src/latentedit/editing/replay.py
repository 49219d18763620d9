"""Reproduce a result from its record, and list what has changed since."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from latentedit.core.console import Progress, progress_bar
from latentedit.core.errors import ConfigError, explaining
from latentedit.editing.request import EditRequest
from latentedit.editing.result import EditResult
from latentedit.editing.session import Session
from latentedit.editors.base import Editor, check_moves_along, editor_class
from latentedit.editors.eim import EIM
from latentedit.editors.moving import SEARCHED, search_of, seed_of
from latentedit.encoding.encode import ImageLike, embed_targets, encode_frames, fit_all, fitted, open_image
from latentedit.encoding.images import Frame, MaskLike, SourceImage
from latentedit.encoding.joint import JointLatent
from latentedit.encoding.record import DirectionRecord, ImageRecord, RunRecord, mask_fingerprint
from latentedit.identification.direction import Direction
from latentedit.models.base import Backbone


@explaining
def replay(
    record: RunRecord,
    model: Backbone,
    image: ImageLike,
    *,
    directions: Sequence[Direction] = (),
    mask: MaskLike | None = None,
    references: Sequence[ImageLike] = (),
    progress: Progress | bool | None = True,
) -> list[EditResult]:
    """Reproduce a result: one for each strength of its record.

    Model, source image, mask and reference images, in their order, are those of the record, or it is a `ConfigError`;
    the image's name does not matter. ``directions`` are those that came from files.
    """
    source = _named(image, record.image)
    record.check_image(source)
    if model.fingerprint != record.model.fingerprint:
        raise ConfigError(
            f"{model.name!r} ({model.fingerprint}) is not the model of the record, {record.model.name!r} "
            f"({record.model.fingerprint}). Name that model with `model`"
        )
    (frame,) = fit_all(model, [source], mask=mask)
    if mask_fingerprint(frame.allowed) != record.image.mask:
        if record.image.mask is None:
            raise ConfigError("the edit used no mask, but one was given. Leave `mask` out")
        problem = "the edit used a mask, but none was given" if mask is None else "the edit used another mask"
        raise ConfigError(f"{problem}. Give the original one with `mask`")
    if [open_image(item).fingerprint for item in references] != [old.fingerprint for old in record.references]:
        names = ", ".join(repr(old.name) for old in record.references) or "none"
        raise ConfigError(
            f"the reference images of the edit were {names}; got {len(references)} others. Give them in their order "
            "with `references`"
        )
    named = [_named(item, old) for item, old in zip(references, record.references, strict=True)]
    loaded = {direction.fingerprint: direction for direction in directions}
    with progress_bar(progress) as report:
        return _again(record, _latent_before(record, model, frame, named, loaded), loaded, report)


def differences(record: RunRecord, now: RunRecord) -> list[str]:
    """Changes since the record was written: versions, machine, directions; one clause each."""
    old, new = record.versions, now.versions
    changes = [(name, old.get(name, "none"), new.get(name, "none")) for name in sorted({*old, *new})]
    changes += [
        (name, getattr(record.model, name) or "none", getattr(now.model, name) or "none")
        for name in ("dtype", "autocast", "device")
    ]
    pairs = enumerate(zip(record.directions, now.directions, strict=False), start=1)
    changes += [(f"direction {index}", before.fingerprint, after.fingerprint) for index, (before, after) in pairs]
    return [f"{name} changed: {before} -> {after}" for name, before, after in changes if before != after]


def _named(image: ImageLike, record: ImageRecord) -> SourceImage:
    """The image under its name in the record."""
    return dataclasses.replace(open_image(image), path=Path(record.name) if record.name else None)


def _latent_before(
    record: RunRecord,
    model: Backbone,
    frame: Frame,
    references: Sequence[SourceImage],
    directions: dict[str, Direction],
) -> JointLatent:
    """The latent of the image before the edit: encoded, and moved by earlier edits."""
    if record.before is not None:
        latent = _latent_before(record.before, model, frame, references, directions)
        return _again(record.before, latent, directions, None)[0].latent
    return encode_frames(
        model, [frame], source_prompt=record.caption, instructed=record.instructed, references=references
    )


def _again(
    record: RunRecord, latent: JointLatent, directions: dict[str, Direction], progress: Progress | None
) -> list[EditResult]:
    name = record.recipe.method
    kind = editor_class(str(name))
    if record.directions:
        check_moves_along(kind)
    try:
        editor = kind.from_dict(record.recipe.settings)
    except (ConfigError, TypeError, KeyError, IndexError) as error:
        raise ConfigError(
            f"the record has settings of {name!r} that this version does not have: {error}. If another version "
            "wrote it, use that one, or `undo`, which restores the original of a PNG"
        ) from error
    texts = [row.target_caption for row in record.directions] or [record.target_caption]
    latent = fitted(latent, [(text,) for text in texts if text])
    target: dict[str, Any] = {"prompt": record.target_caption}
    if record.directions:
        refined = bool(record.recipe.refine)
        seen = latent.guided_by_image(record.recipe.image_guidance)
        along = [_direction(row, seen, editor, directions, progress, refined) for row in record.directions]
        target = {"direction": tuple(along), "strength": tuple(row.strength for row in record.directions)}
    elif record.instructed:
        target = {"instruction": (record.target_caption,)}
    recipe = record.recipe.plain(method=editor, settings={}).fields()
    request = EditRequest(**recipe, **target, seed=record.seed)
    return Session(latent).run(request, record.strengths, progress=progress)[0]


def _direction(
    record: DirectionRecord,
    latent: JointLatent,
    editor: Editor,
    directions: dict[str, Direction],
    progress: Progress | None,
    refined: bool,
) -> Direction:
    """The direction from a file or an earlier edit, otherwise identified again."""
    if record.fingerprint in directions:
        return directions[record.fingerprint]
    if record.given:
        raise ConfigError(f"the direction {record.fingerprint} came from a file. Give that file with `directions`")
    seed, targets = seed_of(record.settings), (record.target_caption,)
    target = embed_targets(latent, targets)
    if record.method == SEARCHED:
        finder = EIM(arm="image", search=search_of(record.settings))
    else:
        finder = dataclasses.replace(cast("EIM", editor), arm="text")
    direction = finder.direction(latent, target, seed=seed, refine=refined, progress=progress)
    directions[record.fingerprint] = dataclasses.replace(direction, target_captions=targets)
    return directions[record.fingerprint]
