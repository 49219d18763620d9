"""Views of edits."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from latentedit.core.errors import ConfigError
from latentedit.latents.captions.change import changed_phrases
from latentedit_keep.viewer.view import View, ViewerFrame

if TYPE_CHECKING:  # results show themselves in the viewer, so their module imports this one
    from latentedit.editing.result import EditResult

MOST_UNDO_PIXELS = 600_000  # of images that include what `undo` needs, about a byte per pixel and strength


def view(results: "EditResult | Sequence[EditResult]", title: str | None = None) -> View:
    """One edit, or one change at several strengths, as an interactive page.

    Args:
        results: a result of `edit`, or the results of `sweep` for one image.
        title: one line; by default the name of the image and the change.

    Raises:
        ConfigError: no results, or results of several images.

    Cost:
        No evaluation of the network.
    """
    results = list(results) if isinstance(results, Sequence) else [results]
    count = len({result.record.image.fingerprint for result in results})
    if count != 1:
        raise ConfigError(f"a view shows the results of one image; got those of {count}. Make a view for each")
    first = results[0]
    name = first.record.image.name or "image"
    change = ", ".join(changed_phrases(first.caption, first.target_caption)[1]) if first.target_caption else ""
    unedited = [result.image for result in results if result.strength == 0]  # differs from the source of a second edit
    return View(
        source=unedited[0] if unedited else first.source,
        frames=tuple(_frame_of(result) for result in results),
        title=title if title is not None else f"{name}: {change}" if change else name,
        caption=first.caption,
        target_caption=first.target_caption,
        name=Path(name).stem,
        steps=first.record.off_or_on,
    )


def _frame_of(result: "EditResult") -> ViewerFrame:
    effect = result.effect
    return ViewerFrame(
        strength=result.strength,
        image=result.image,
        verdict=result.verdict.label,
        reason=result.verdict.reason,
        lines=(*(result.read_changes or ()), effect.size_text, effect.rest_text),
        record=result.record,
        # Without seconds and memory, which differ from run to run, equal edits give equal pages.
        measures={name: value for name, value in result.measures.items() if name != "cost"},
        payload=result.undo_data if result.image.width * result.image.height <= MOST_UNDO_PIXELS else None,
    )
