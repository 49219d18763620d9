"""Results of moved latents: put into the images, judged by the model, read by its captioner, measured."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.editing.answer import Wanted, answered
from latentedit.editing.effect import measure_effect
from latentedit.editing.result import EditResult, strengths_of
from latentedit.editing.saved import SavedImages, lost_in, saved_images
from latentedit.editors.base import StrengthResult, check_steps, clamped_notes
from latentedit.editors.judge import LEAST_KEPT, MOST_KEPT, UNJUDGED, Judge, Verdict
from latentedit.editors.moving import Moved
from latentedit.encoding.captions.base import AttributeReader
from latentedit.encoding.captions.change import change_words, prompt_doubts
from latentedit.encoding.encode import captioner_for, text_notes
from latentedit.encoding.joint import JointLatent
from latentedit.encoding.record import RunRecord
from latentedit.identification.composition import merged
from latentedit.models.base import Backbone
from latentedit.models.model_settings import ModelSettings
from latentedit.numerics.condition import Condition
from latentedit.numerics.cost import Cost
from latentedit.numerics.rng import Seed

_TRANSLUCENT = "off or on: nothing lies in between, so a part of the strength is a translucent overlay. Use 0 or 1"


_INHERITED = "the mask of the edit before still holds: nothing else changes. To change more, save the image and edit it"


def measured(
    latent: JointLatent,
    moved: Moved,
    records: Sequence[RunRecord],
    spent: Callable[[], Cost],
    notes: Sequence[str] = (),
    *,
    guard: int = 0,
    judges: bool = True,
) -> list[list[EditResult]]:
    """Put the changes into the images, judge and measure them: per image one result per strength.

    Args:
        latent: the images.
        moved: their latents after the edit.
        records: one per image; strength and evaluations are added.
        spent: called when the images are made; they share the cost equally.
        notes: for all of them.
        guard: evaluations by which the images were checked.
        judges: whether there are verdicts; else all of them are "not judged", and nothing is computed for them.
    """
    backbone = latent.backbone
    check_steps(moved.steps, backbone.name)
    saved = saved_images(latent, moved, records[0], judged=judges)
    total, shares = spent(), len(latent) * len(moved.steps)
    with backbone.count() as judging:
        verdicts = _verdicts(latent, moved, saved, records[0].seed) if judges else [[UNJUDGED] * len(latent)] * shares
    cost = Cost(
        evaluations=total.evaluations / shares,
        seconds=total.seconds / shares,
        peak_bytes=total.peak_bytes,
        verdict_evaluations=judging.evaluations / shares,
        guard_evaluations=guard / shares,
    )
    edited = [images.pixels for images in saved[1:]]
    read = _readings(backbone, "read", [latent.pixels, *edited])
    sure = _readings(backbone, "read_surely", [saved[0].pixels, *edited]) if judges else read
    seen = [_Observed(*each) for each in zip(saved, [(), *verdicts], read, sure, strict=True)]
    results: list[list[EditResult]] = []
    for row, record in enumerate(records):
        of_image = (*_image_notes(latent, record, row), *notes)
        steps = range(len(moved.steps))
        results.append([_result(latent, moved, record, seen, row, step, cost, of_image) for step in steps])
    return results


def _verdicts(latent: JointLatent, moved: Moved, saved: Sequence[SavedImages], seed: Seed) -> list[list[Verdict]]:
    """Verdicts of each strength, of the images as they are saved."""
    judge, (start, *edited) = Judge.of(latent.backbone), saved
    judged = latent if start.z is latent.z else dataclasses.replace(latent, z=start.z)
    shared = dict[Any, Tensor]()
    return [
        judge.judge(judged, moved.target, images.z, strength=step.strength, seed=seed, shared=shared)
        for step, images in zip(moved.steps, edited, strict=True)
    ]


class _Observed(NamedTuple):
    """Findings in images as they are saved, one each; there is no verdict on those before the edit."""

    saved: SavedImages
    verdicts: Sequence[Verdict]
    read: list[dict[str, str] | None]
    read_surely: list[dict[str, str] | None]


def _image_notes(latent: JointLatent, record: RunRecord, row: int) -> tuple[str, ...]:
    """Warnings about an image and its captions, at any strength."""
    frame = latent.frames[row]
    able = latent.backbone.capabilities.references > 0
    words = (record.caption, record.target_caption)
    # A class or a number is one token, which nothing completes.
    named = latent.condition.tokens.shape[1] == 1 and captioner_for(latent.backbone) is None
    doubts = () if record.instructed else prompt_doubts(*words, takes_instructions=able)
    return (
        *frame.notes,
        *([_INHERITED] if frame.allowed is not None and latent.provenance is not None else []),
        *(latent.knowledge[row].doubts if latent.knowledge else ()),
        *text_notes(latent.backbone, latent.left_out[row : row + 1], [*filter(None, words)]),
        *doubts,
        *(latent.completions[row].notes if latent.completions and not named else ()),
    )


def _result(
    latent: JointLatent,
    moved: Moved,
    record: RunRecord,
    seen: Sequence["_Observed"],
    row: int,
    at: int,
    cost: Cost,
    notes: tuple[str, ...],
) -> EditResult:
    """The result of an image at one strength."""
    step, frame, start, edited = moved.steps[at], latent.frames[row], seen[0], seen[at + 1]
    record = record.model_copy(update={"strengths": (step.strength,), "evaluations": moved.evaluations[at]})
    source, image, kept = frame.image.image, edited.saved.images[row], edited.saved.kept[row]
    effect = measure_effect(source, image)
    own = effect if latent.start is None else measure_effect(start.saved.images[row], image)
    strengths = strengths_of(record, step.strength)
    # A reader sees a part of a change as all or nothing.
    is_full = all(strength == 0 or abs(strength) >= 1 for strength in strengths)
    effect = dataclasses.replace(effect, read_before=start.read[row], read_after=edited.read[row] if is_full else None)
    verdict = edited.verdicts[row]
    judged = verdict is not UNJUDGED
    if judged and record.caption and record.target_caption and not record.instructed and step.strength:
        wanted, left_out = _wanted(latent.backbone, record, strengths)
        verdict = answered(verdict, wanted, start.read_surely[row], edited.read_surely[row]).without(left_out)
    familiarity = latent.knowledge[row] if latent.knowledge else None
    verdict = verdict if familiarity is None or not judged else verdict.on(familiarity)
    if judged and step.strength:
        verdict = verdict.shown(kept, own.changed_share > 0, lost_in(frame))
        known = ModelSettings.of(latent.backbone).has_thresholds
        verdict = verdict if known else verdict.uncalibrated()
    kept = kept if own.changed_share else min(kept, LEAST_KEPT)
    translucent = [_TRANSLUCENT] if record.off_or_on and 0 < abs(step.strength) < 1 else []
    talk = moved.cross_talk
    return EditResult(
        image=image,
        source=source,
        strength=step.strength,
        method=str(record.recipe.method),
        caption=record.caption,
        target_caption=record.target_caption,
        verdict=verdict,
        knowledge=familiarity,
        effect=effect,
        cross_talk=None if talk is None else talk[row if len(talk) > 1 else 0],
        latent=_following(latent, moved.target, step, row, record, kept),
        cost=cost,
        notes=(*notes, *step.notes, *translucent, *clamped_notes(step, row)),
        record=record,
        completion=latent.completions[row] if latent.completions else None,
    )


def _wanted(backbone: Backbone, record: RunRecord, strengths: Sequence[float]) -> tuple[Wanted, tuple[str, ...]]:
    """The changes at strength 1 or more, for a reader to look for; and the changes that the captions cannot state."""
    wanted = functools.partial(Wanted.of, backbone, captioner_for(backbone), record.caption, record.target_caption)
    if len(strengths) == 1:
        return wanted(full=record.target_caption if strengths[0] >= 1 else record.caption), ()
    parts = [(one.target_caption, strength) for one, strength in zip(record.directions, strengths, strict=True)]
    full, _ = merged(record.caption, [text for text, strength in parts if strength >= 1])
    requested = [text for text, strength in parts if strength > 0]
    names = [change_words(record.caption, text) if text else "a direction without words" for text in requested]
    left_out = tuple(names[index] for index in merged(record.caption, requested)[1])
    return wanted(full=full), left_out


def _readings(
    backbone: Backbone, how: Literal["read", "read_surely"], images: Sequence[Float[Tensor, "b 3 h w"]]
) -> list[list[dict[str, str] | None]]:
    """Readings by the model's reader of batches of images at the model's size."""
    reader, count = captioner_for(backbone), len(images[0])
    if not isinstance(reader, AttributeReader):
        return [[None] * count] * len(images)
    read = getattr(reader, how)(torch.cat([*images]).to(backbone.device, backbone.dtype))
    return [list(read[start : start + count]) for start in range(0, len(read), count)]


def _following(
    latent: JointLatent, target: Condition, step: StrengthResult, index: int, record: RunRecord, kept: float
) -> JointLatent:
    """The latent of an edited image, to go on from there or back: of the image before where it shows no change."""
    row, caption, z = slice(index, index + 1), record.caption, step.z if kept >= LEAST_KEPT else latent.z
    condition = latent.condition[row] + (target[row] - latent.condition[row]) * step.strength
    if kept < MOST_KEPT:
        condition = latent.condition[row]
    if condition.reference is not None:  # the next edit starts from no change of the current image
        condition = dataclasses.replace(latent.condition[row], reference=(z[row], *condition.reference[1:]))
    elif kept >= MOST_KEPT and step.strength > 0 and record.target_caption:  # away from it, the image does not show it
        caption = record.target_caption
    return JointLatent(
        backbone=latent.backbone,
        z=z[row],
        condition=condition,
        captions=(caption,),
        frames=latent.frames[row],
        start=(latent.z if latent.start is None else latent.start)[row],
        decoded=None if latent.decoded is None else latent.decoded[row],
        knowledge=latent.knowledge[row],
        provenance=record,
        references=latent.references,
        encoders=latent.encoders,
        left_out=latent.left_out[row],
    )
