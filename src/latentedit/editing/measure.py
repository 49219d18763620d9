"""What an edit did to the pictures, whether it worked, and what it took."""

import dataclasses
import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.core.cost import Cost, Meter, peak_bytes
from latentedit.core.errors import ModelError
from latentedit.editing.result import EditResult, measure_effect
from latentedit.editors.base import StrengthResult
from latentedit.editors.judge import Judge, Verdict
from latentedit.editors.local_change import local_change
from latentedit.latents.captions.base import AttributeReader, captioner_for
from latentedit.latents.joint import JointLatent
from latentedit.latents.record import RunRecord


def measured(
    latent: JointLatent,
    moved: Sequence[StrengthResult],
    records: Sequence[RunRecord],
    target: Condition,
    *,
    evaluations: Sequence[int],
    meter: Meter,
    cross_talk: Float[Tensor, "b k k"] | None = None,
) -> list[list[EditResult]]:
    """Put the change of an edit back into the pictures, judge and measure it.

    Args:
        latent: encoded pictures with their frames.
        moved: the edited latents, a batch for each strength.
        records: how each picture was edited, but for strength and cost.
        target: the text wanted, one a picture.
        evaluations: what each strength costs a picture of which nothing is known yet.
        meter: of the edit, which runs until the pictures are made.
        cross_talk: between directions, one matrix a picture or one for all.

    Returns:
        A list for each strength with one result a picture. The cost is shared among them equally.

    Raises:
        ModelError: latents that are not finite.
    """
    backbone, judge = latent.backbone, Judge.of(latent.backbone)
    if not all(bool(torch.isfinite(one.z).all()) for one in moved):
        raise ModelError(f"{backbone.name} gave latents that are not finite. Check its weights, or its dtype")
    changes = _changes(latent, moved, local=records[0].local)
    images = [[frame.restore(row) for frame, row in zip(latent.frames, change, strict=True)] for change in changes]
    (spent, seconds), shares, peak = meter.read(), len(latent) * len(moved), peak_bytes(backbone.device)
    with backbone.count() as judging:
        seed = records[0].seed
        known = judge.losses(backbone, latent.z, (latent.condition, target), seed=seed)
        verdicts = [judge.judge(latent, target, one.z, strength=one.strength, seed=seed, before=known) for one in moved]
    cost = Cost(
        evaluations=spent / shares,
        seconds=seconds / shares,
        peak_bytes=peak,
        verdict_evaluations=judging.evaluations / shares,
        guard_evaluations=sum(one.evaluations for one in latent.knowledge) / shares,
    )
    results: list[list[EditResult]] = []
    for one, nominal, made, read, judged in zip(
        moved, evaluations, images, _read(latent, changes), verdicts, strict=True
    ):
        about = {"strengths": (one.strength,), "evaluations": nominal}
        rows = zip(records, made, read, judged, strict=True)
        results.append(
            [
                _result(
                    latent,
                    one,
                    index,
                    record=record.model_copy(update=about),
                    text=target[index : index + 1] - latent.condition[index : index + 1],
                    image=image,
                    reading=reading,
                    verdict=verdict,
                    cost=cost,
                    cross_talk=None if cross_talk is None else cross_talk[index if len(cross_talk) > 1 else 0],
                )
                for index, (record, image, reading, verdict) in enumerate(rows)
            ]
        )
    return results


def _changes(latent: JointLatent, moved: Sequence[StrengthResult], *, local: bool) -> list[Float[Tensor, "b 3 h w"]]:
    """What each strength changes in the frames' pixels; exactly nothing where the latents are the frames' own."""
    backbone = latent.backbone
    start = latent.z if latent.start is None else latent.start
    decoded = backbone.decode(start) if latent.decoded is None else latent.decoded
    changes = [torch.zeros_like(decoded) if m.z is start else backbone.decode(m.z) - decoded for m in moved]
    return [local_change(change) for change in changes] if local else changes


def _result(
    latent: JointLatent,
    moved: StrengthResult,
    index: int,
    *,
    record: RunRecord,
    text: Condition,
    image: Image.Image,
    reading: "_Reading",
    verdict: Verdict,
    cost: Cost,
    cross_talk: Float[Tensor, "k k"] | None,
) -> EditResult:
    one, picture, (before, after) = slice(index, index + 1), latent.frames[index].picture, reading
    notes = latent.backbone.caption_notes([words for words in (record.caption, record.target_caption) if words])
    knowledge = latent.knowledge[index] if latent.knowledge else None
    condition, caption = latent.condition[one] + text * moved.strength, record.caption
    if condition.reference is not None:  # what comes next starts from no change of the picture as it is now
        condition = dataclasses.replace(latent.condition[one], reference=(moved.z[one], *condition.reference[1:]))
    elif moved.strength > 0 and record.target_caption:  # the other way from the target it shows something else
        caption = record.target_caption
    return EditResult(
        image=image,
        source=picture.image,
        strength=moved.strength,
        method=record.method,
        caption=record.caption,
        target_caption=record.target_caption,
        verdict=verdict if knowledge is None else verdict.on(knowledge),
        knowledge=knowledge,
        effect=measure_effect(picture.image, image, read_before=before, read_after=after),
        cross_talk=cross_talk,
        latent=JointLatent(
            backbone=latent.backbone,
            z=moved.z[one],
            condition=condition,
            captions=(caption,),
            frames=latent.frames[one],
            start=(latent.z if latent.start is None else latent.start)[one],
            decoded=None if latent.decoded is None else latent.decoded[one],
            knowledge=() if knowledge is None else (dataclasses.replace(knowledge, evaluations=0),),
            provenance=record,
            beside=latent.beside,
        ),
        cost=cost,
        notes=(
            *picture.notes,
            *(() if knowledge is None else knowledge.doubts),
            *notes,
            *moved.notes,
            *_clamped(moved.strength, math.nan if moved.limit is None else float(moved.limit[index])),
        ),
        record=record,
    )


def _clamped(strength: float, limit: float) -> list[str]:
    """A warning where the strength went beyond the limit; nan is none."""
    if abs(strength) <= abs(limit) or math.isnan(limit):
        return []
    return [f"strength {strength:g} was clamped to {limit:.2f}, the furthest this picture is known to go undamaged"]


_Reading = tuple[dict[str, str] | None, dict[str, str] | None]
"""What the model's reader sees before and after; None where there is no reader."""


def _read(latent: JointLatent, changes: Sequence[Float[Tensor, "b 3 h w"]]) -> list[list[_Reading]]:
    """Readings at the model's size, all in one batch."""
    reader = captioner_for(latent.backbone)
    if not isinstance(reader, AttributeReader):
        return [[(None, None)] * len(latent) for _ in changes]
    source = torch.stack([frame.pixels for frame in latent.frames]).to(changes[0].device, changes[0].dtype)
    read = reader.read(torch.cat([source, *((source + change).clamp(-1, 1) for change in changes)]))
    rows = [read[start : start + len(latent)] for start in range(0, len(read), len(latent))]
    return [list(zip(rows[0], row, strict=True)) for row in rows[1:]]
