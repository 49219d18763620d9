"""Sentences on what works, what does not and what could not be checked, made from the numbers by the rules below.

The rules were written before any run with real weights. No sentence is without its number.

1. **Parity.** The final latents of latentedit differ from the stock pipeline's by at most `BOUNDS` (norm of the
   difference relative to theirs), or by at most three times what the stock pipeline differs from itself with another
   batch size or attention kernel, whichever is larger. Pipelines of flows round a network's time to half precision,
   which latentedit does not: if the error is smaller with one of three ways to round, that error counts. Not decided:
   where the pipeline differs from itself by more than `LARGEST_CONTROL`, or where another caption changes the latents
   by less than ten times the error. The image that latentedit decodes differs from the pipeline's by at most
   `IMAGE_LEVELS` of 255 levels in the mean; this does not count where times are rounded.
2. **Strength.** Strength 0 is the photograph bit for bit, and the mean change rises with each of six strengths.
3. **Undo.** Each saved edit gives the photograph back bit for bit.
4. **Edits.** The model's own verdict is "done" or "partly done" on at least half of the everyday photographs. Not
   decided where the verdicts have no calibration: then its thresholds are guesses.
5. **Outside.** In the median edit, at least `IDENTICAL` of the pixels outside of the change are the photograph's bit
   for bit; the same is counted for the whole image after `latentedit.keep`.
6. **Familiarity.** At least five of eight everyday photographs are known to the model, and at least one of two unusual
   ones (stars, stained tissue) is not. Not decided unless all ten were edited.
7. **Memory.** The numbers alone.
"""

import dataclasses
import itertools
import statistics
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from research.real_weights import photographs

BOUNDS = {"float32": 1e-3, "bfloat16": 2e-2, "float16": 2e-2}
LARGEST_CONTROL = 0.1
IMAGE_LEVELS = 4.0
IDENTICAL = 0.9
SMALLEST = 10.0  # million parameters
CONTROLS = ("two at once", "other attention")

Kind = Literal["works", "does not work", "not checked", "number"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One sentence of the summary, with its numbers."""

    kind: Kind
    text: str


def findings(about: Mapping[str, Any], parts: Mapping[str, Any]) -> list[Finding]:
    """All sentences, from "about" and "parts" of the report; parts that failed or are missing are "not checked"."""
    rules = {"parity": _parity, "sweep": _strength, "edit": _undo, "photographs": _photographs, "memory": _memory}
    found = list[Finding]()
    for name, rule in rules.items():
        rows = photograph_rows(parts)
        result = rows if name == "photographs" else parts.get(name, {}).get("result")
        if result:
            found += rule(result, about)
    for part in parts.values():
        if part["status"] != "finished":
            found.append(Finding(kind="not checked", text=f"{part['title']}: {part['error']}"))
    missing = len(photographs.PHOTOGRAPHS) - len(photograph_rows(parts))
    if missing:
        text = f"{missing} of {len(photographs.PHOTOGRAPHS)} photographs were not edited"
        found.append(Finding(kind="not checked", text=text))
    if (millions := about["parts"][about["denoiser"]]["millions"]) < SMALLEST:
        text = f"How good edits are: the network has {millions:.3g} million parameters, too few to know photographs."
        found.append(Finding(kind="not checked", text=text))
    found.append(
        Finding(
            kind="not checked",
            text="Whether a person likes the edits: verdicts are the model's own, so look at the images below. One "
            f"model, one seed and {len(photographs.PHOTOGRAPHS)} photographs say nothing of others.",
        )
    )
    return found


def photograph_rows(parts: Mapping[str, Any]) -> dict[str, Any]:
    """The finished edits of the ten photographs, by name."""
    names = {one.name: parts.get(f"photograph-{one.name}", {}).get("result") for one in photographs.PHOTOGRAPHS}
    return {name: row for name, row in names.items() if row}


def part_in(share: float) -> str:
    """A relative difference in words."""
    if share >= 0.001 or share == 0:
        return f"{100 * share:.2g}%" if share else "nothing"
    return f"1 part in {float(f'{1 / share:.2g}'):,.0f}"


def bound(found: Mapping[str, Any], dtype: str) -> tuple[float, float]:
    """The largest error that passes, and the largest control; see rule 1."""
    control = max((found[name].get("relative", 0.0) for name in CONTROLS), default=0.0)
    return max(BOUNDS.get(dtype, BOUNDS["float32"]), 3 * control), control


def _parity(found: Mapping[str, Any], about: Mapping[str, Any]) -> Iterator[Finding]:
    most, control = bound(found, about["dtype"])
    exact, other = found["relative"], found["other caption"]["relative"]
    error = min(exact, found.get("rounded times", found)["relative"])
    how = f" with times rounded as there ({part_in(exact)} with exact times)" if error < exact else ""
    numbers = (
        f"its final latents differ from the stock pipeline's by {part_in(error)}{how}, where {part_in(most)} is "
        f"allowed; the pipeline differs from itself by {part_in(control)}, and another caption changes the latents by "
        f"{part_in(other)}"
    )
    controls = [name for name in CONTROLS if "error" in found[name]]
    if controls:
        numbers += f" (not measured: {', '.join(controls)})"
    if control > LARGEST_CONTROL or len(controls) == len(CONTROLS):
        text = f"Whether latentedit samples as the pipeline does: {numbers}. Repeat it with --dtype float32."
        yield Finding(kind="not checked", text=text)
    elif error > most:
        yield Finding(kind="does not work", text=f"latentedit does not sample as the pipeline does: {numbers}.")
    elif other < 10 * error:
        text = f"Whether latentedit samples as the pipeline does: {numbers}, too little to tell."
        yield Finding(kind="not checked", text=text)
    else:
        yield Finding(kind="works", text=f"latentedit samples as the pipeline does: {numbers}.")
        if error < exact:
            return
        levels = found["image_levels"]
        kind: Kind = "works" if levels <= IMAGE_LEVELS else "does not work"
        text = f"The image that it decodes differs from the pipeline's by {levels:.2f} of 255 levels in the mean"
        yield Finding(kind=kind, text=f"{text} (allowed: {IMAGE_LEVELS:g}).")


def _strength(found: Mapping[str, Any], _about: Mapping[str, Any]) -> Iterator[Finding]:
    levels = [row["mean_levels"] for row in found["edits"]]
    rises = sum(after > before for before, after in itertools.pairwise(levels))
    kind: Kind = "works" if levels[0] == 0 and rises == len(levels) - 1 else "does not work"
    listed = ", ".join(f"{one:.2f}" for one in levels)
    yield Finding(
        kind=kind,
        text=f"Strength: the mean change rises at {rises} of {len(levels) - 1} steps from strength 0 to 1 ({listed} of "
        f"255 levels); at strength 0 the photograph is {'unchanged' if levels[0] == 0 else 'changed'}.",
    )


def _undo(found: Mapping[str, Any], _about: Mapping[str, Any]) -> Iterator[Finding]:
    undone, total = sum(row["undone"] for row in found["edits"]), len(found["edits"])
    text = f"Undo: {undone} of {total} saved edits gave the photograph back bit for bit."
    yield Finding(kind="works" if undone == total else "does not work", text=text)


def _photographs(rows: Mapping[str, Any], _about: Mapping[str, Any]) -> Iterator[Finding]:
    unusual = {one.name for one in photographs.PHOTOGRAPHS if one.unusual}
    everyday = {name: row for name, row in rows.items() if name not in unusual}
    guarded = all(row["state"] is not None for row in rows.values())
    words = [row["word"] for row in everyday.values()]
    if not words:
        return
    good = sum(word in ("done", "partly done") for word in words)
    counted = ", ".join(f"{words.count(word)} {word}" for word in dict.fromkeys(words))
    text = f"Edits: on {good} of {len(words)} everyday photographs the model sees its change ({counted})"
    if not guarded:
        text += "; the model is not calibrated, so its verdicts have no measured thresholds"
    kind: Kind = "works" if 2 * good >= len(words) else "does not work"
    yield Finding(kind=kind if guarded else "not checked", text=text + ".")
    yield from _outside(rows)
    if not guarded:
        yield Finding(kind="not checked", text=f"Which of {len(rows)} photographs the model knows: it has no guard.")
        return
    known = sum(row["state"] == "known" for row in everyday.values())
    strange = sum(rows[name]["state"] != "known" for name in unusual & rows.keys())
    kind = "works" if known >= 5 and strange else "does not work"
    yield Finding(
        kind=kind if len(rows) == len(photographs.PHOTOGRAPHS) else "not checked",
        text=f"Familiarity: {known} of {len(everyday)} everyday photographs are known to the model, and {strange} of "
        f"{len(unusual & rows.keys())} unusual ones are not.",
    )
    seconds = statistics.median(row["seconds"] for row in rows.values())
    evaluations = statistics.median(row["evaluations"] for row in rows.values())
    yield Finding(kind="number", text=f"The median edit took {seconds:.1f} s and {evaluations:.0f} evaluations.")


def _outside(rows: Mapping[str, Any]) -> Iterator[Finding]:
    shares = [row["identical"] for row in rows.values() if row["identical"] is not None]
    if not shares:
        text = f"What stays outside of the change: in {len(rows)} of {len(rows)} edits every pixel changed."
        yield Finding(kind="not checked", text=text)
        return
    median = statistics.median(shares)
    kept = [row["identical_kept"] for row in rows.values() if row["identical_kept"] is not None]
    after = f"; after latentedit.keep {statistics.median(kept):.0%} of all pixels are" if kept else ""
    yield Finding(
        kind="works" if median >= IDENTICAL else "does not work",
        text=f"Outside: in the median edit {median:.0%} of the pixels outside of the change are the photograph's bit "
        f"for bit (aim: {IDENTICAL:.0%}){after}.",
    )


def _memory(found: Mapping[str, Any], _about: Mapping[str, Any]) -> Iterator[Finding]:
    listed = ", ".join(f"{name} {size / 2**30:.2f} GiB" for name, size in found["peaks"].items())
    what = "on the device" if found["resettable"] else "of the whole process so far, which a CPU cannot measure apart"
    yield Finding(kind="number", text=f"Highest memory {what}: {listed}.")
