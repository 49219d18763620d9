"""The viewer of edits: what results say of themselves, strength by strength."""

from collections.abc import Sequence
from pathlib import Path

from latentedit.api.viewer.views import Frame, View
from latentedit.core.errors import ConfigError
from latentedit.directions.text import changed_phrases
from latentedit.editing.result import EditResult
from latentedit.editing.undo import difference

MOST_UNDO_PIXELS = 600_000
"""Of pictures that are saved from the page with what `undo` needs: about a byte a pixel and strength in the page."""


def view(results: EditResult | Sequence[EditResult], title: str | None = None) -> View:
    """The picture of one edit, or of one change at several strengths, to be played with in a browser.

    Args:
        results: of `edit`, or of `sweep`: one picture's.
        title: one line; the picture's name and what changed if not given.

    Raises:
        ConfigError: no results, or those of several pictures.

    Cost:
        No evaluation of the network.
    """
    results = list(results) if isinstance(results, Sequence) else [results]
    if not results:
        raise ConfigError("a view shows at least one result; got none")
    first, pictures = results[0], {result.record.picture.fingerprint for result in results}
    if len(pictures) > 1:
        raise ConfigError(f"a view shows one picture; got results of {len(pictures)}. Make one of each")
    name = first.record.picture.name or "picture"
    change = ", ".join(changed_phrases(first.caption, first.target_caption)[1]) if first.target_caption else ""
    begun = [result.image for result in results if result.strength == 0]  # not the source, where edits came before
    return View(
        source=begun[0] if begun else first.source,
        frames=tuple(_frame(result) for result in results),
        title=title if title is not None else f"{name}: {change}" if change else name,
        caption=first.caption,
        target_caption=first.target_caption,
        name=Path(name).stem,
    )


def _frame(result: EditResult) -> Frame:
    effect = result.effect
    small = result.image.width * result.image.height <= MOST_UNDO_PIXELS
    return Frame(
        strength=result.strength,
        image=result.image,
        verdict=result.verdict.label,
        reason=result.verdict.reason,
        lines=(*(result.read_changes or ()), effect.size_text, effect.rest_text),
        record=result.record,
        # Seconds and memory differ from run to run; without them the same edit is the same page.
        measures={name: value for name, value in result.measures.items() if name != "cost"},
        payload=difference(result.source, result.image) if small else None,
    )
