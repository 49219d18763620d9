"""One method on one batch of items: edit at every strength, apply the change to the images, measure.

Gain and locality are applied to the change afterwards, so methods that differ in these alone share an editor's work.
"""

import dataclasses
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from latentedit import JointLatent
from latentedit.core import ConfigError, Recipe
from latentedit.editors import Editor, Refinement
from latentedit.identification import composed_change, dropped_residual
from latentedit_bench.data.prepared import Prepared, Readings, to_tensor
from latentedit_bench.metrics.metric import EditedBatch
from latentedit_bench.metrics.pie_bench import MODES, scores
from latentedit_bench.metrics.registered import measured

Row = dict[str, Any]  # one item, method and strength: plain values; None if not measured
CHANGE = "tv "  # prefix of the columns that hold the total variation of each attribute
TRUE_CHANGE = "true tv "  # prefix of those of the right answer
RECIPE = Recipe()  # the recipe of an edit unless it states another
CODEC, FLOOR = ANSWERS = ("codec alone", "model floor")  # the names in tables of the rows of `answer_rows`
REFINED = ", refined"  # at the end of the names of methods that are
_REDRAW = Refinement(steps=8, widest=1.0)  # settings of the model floor: converged, for changes of any size


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """One row of the ranking."""

    name: str  # in tables and on the command line
    editor: Editor  # an editor, settings included
    local: bool = False  # the change is kept to where it is strong (`identification.locality`)
    gain: float = 1.0  # the change of the latents is multiplied by it, which costs nothing
    tuned: bool = True  # its settings come from a search or a file, not from the defaults of the editor
    subtract_residual: float = RECIPE.subtract_residual  # share of the codec's residual that is dropped in the change
    refined: bool = False  # the change is refined at strength 1 (`editors.refinement`); at others in proportion

    def allowed(self, latent: JointLatent, strengths: Sequence[float]) -> list[float]:
        """The strengths that the editor supports; a `ConfigError` if it refuses all of them."""
        found, refused = list[float](), list[ConfigError]()
        for strength in strengths:
            try:
                self.editor.evaluations(latent, strength=strength)
                found.append(strength)
            except ConfigError as error:
                refused.append(error)
        if refused and not found:
            raise refused[-1]
        return found


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RankedEdits:
    """An editor's latents of a batch, before the change is applied to the images."""

    batch: Prepared  # the edited items
    latents: Mapping[float, Tensor]  # keys are strengths; rows that are not finite are replaced by the source
    failed: Mapping[float, Tensor]  # masks of rows that were not finite; keys are strengths
    seconds: float  # an image and strength

    @staticmethod
    @torch.no_grad()
    def of(method: Method, batch: Prepared, strengths: Sequence[float], *, seed: int) -> "RankedEdits":
        """Edit at each supported strength, without the method's gain; see `Prepared.seeds`."""
        latent, allowed = batch.latent, method.allowed(batch.latent, strengths)
        started = time.perf_counter()
        editor = method.editor.for_captions(latent.captions, batch.targets)
        found = [moved.z for moved in editor.edit(latent, batch.target, allowed, seed=batch.seeds(seed))]
        seconds = (time.perf_counter() - started) / (len(latent) * max(1, len(allowed)))
        latents, failed = dict[float, Tensor](), dict[float, Tensor]()
        for strength, z in zip(allowed, found, strict=True):
            finite = torch.isfinite(z).flatten(1).all(1)
            latents[strength] = torch.where(finite.reshape(-1, *[1] * (z.ndim - 1)), z, latent.z)
            failed[strength] = ~finite
        return RankedEdits(batch=batch, latents=latents, failed=failed, seconds=seconds)


@torch.no_grad()
def evaluate(
    method: Method, batch: Prepared, strengths: Sequence[float], *, seed: int, edits: RankedEdits | None = None
) -> tuple[list[Row], dict[float, list[Image.Image]]]:
    """Rows of a method, one per item and supported strength, and the edited images at each strength.

    An edit that is not finite is replaced by the source and counts as "failed".
    """
    edits = RankedEdits.of(method, batch, strengths, seed=seed) if edits is None else edits
    source, rows, images = batch.latent.z, list[list[Row]](), dict[float, list[Image.Image]]()
    added, spent = 0.0, 0
    if method.refined:
        whole = method.gain * (edits.latents[1.0] - source)
        added = Refinement()(batch.latent, batch.target, whole, seed=batch.seeds(seed)) - whole
        spent = Refinement().evaluations
    for strength, edited in edits.latents.items():
        z = edited if method.gain == 1 else source + method.gain * (edited - source)
        change = batch.changed(z + min(strength, 1.0) * added if method.refined and strength > 0 else z)
        dropped = dropped_residual(strength, method.subtract_residual)
        change = composed_change(change, batch.pixels, batch.decoded, dropped, local=method.local)
        images[strength] = batch.restored(change)
        columns = _measured(batch, to_tensor(images[strength]), batch.read(change))
        columns |= {"failed": edits.failed[strength].double()}
        evaluations = method.editor.evaluations(batch.latent, strength=strength) + spent
        about = {"evaluations": float(evaluations), "seconds": edits.seconds}
        rows.append(_rows(batch, method.name, strength, seed, columns, about))
    return [row for of_item in zip(*rows, strict=True) for row in of_item], images


@torch.no_grad()
def answer_rows(batch: Prepared) -> list[Row]:
    """The right answers as edits: encoded and decoded, and also with the core of the change redrawn by the model.

    Rows of the methods `CODEC` and `FLOOR` at strength 1 and seed 0; none without right answers. The floor is the error
    that remains if the change is known and the model redraws its core under the target caption.
    """
    if batch.answer_pixels is None:
        return []
    source, backbone = batch.latent.z, batch.latent.backbone
    answer = backbone.encode(batch.answer_pixels.to(backbone.device, backbone.dtype))
    redrawn = source + _REDRAW(batch.latent, batch.target, answer - source, seed=batch.seeds(0))
    rows: list[list[Row]] = []
    for name, z, evaluations in ((CODEC, answer, 0), (FLOOR, redrawn, _REDRAW.evaluations)):
        change = batch.changed(z)
        columns = _measured(batch, to_tensor(batch.restored(change)), batch.read(change))
        rows.append(_rows(batch, name, 1.0, 0, columns, {"evaluations": float(evaluations), "seconds": 0.0}))
    return [row for of_item in zip(*rows, strict=True) for row in of_item]


def _rows(
    batch: Prepared, method: str, strength: float, seed: int, columns: Mapping[str, Tensor], about: Mapping[str, float]
) -> list[Row]:
    return [
        {"method": method, "item": item.id, "group": item.group, "kind": item.kind, "change": item.change}
        | {"requested": item.about.get("requested", ""), "strength": strength, "seed": seed}
        | {name: number if math.isfinite(number := float(of[index])) else None for name, of in columns.items()}
        | dict(about)
        for index, item in enumerate(batch.items)
    ]


def _measured(
    batch: Prepared, edited: Float[Tensor, "b 3 h w"], read: Readings | None
) -> dict[str, Float[Tensor, " b"]]:
    """Every metric, PIE-Bench's numbers, which need no right answer, and the changes of attributes."""
    known = {name: getattr(batch, name) for name in ("source", "truth", "mask", "consequences", "before", "answer")}
    columns = measured(EditedBatch(edited=edited, captions=list(batch.targets), after=read, **known))
    if batch.mask is not None and batch.truth is None:
        for mode in MODES:
            found = scores(edited, batch.source, batch.mask, mode=mode)
            columns |= {f"{mode} {name}": values for name, values in found.items()}
    for prefix, after in ((CHANGE, read), (TRUE_CHANGE, batch.answer)):
        if batch.before is not None and read is not None and after is not None:
            columns |= total_variation(prefix, batch.before, after)
    return columns


def total_variation(prefix: str, before: Readings, after: Readings) -> dict[str, Float[Tensor, " b"]]:
    """``sum |after - before| / 2`` of each attribute's probabilities: the total variation distance, in [0, 1].

    Trap: between two readings of unsure readers it is not the share of images whose value changed.
    """
    return {f"{prefix}{name}": (after[name] - was).double().abs().sum(1) / 2 for name, was in before.items()}
