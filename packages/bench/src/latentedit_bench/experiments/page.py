"""What was found of all claims, as one page: Markdown, and beside it the same as one HTML file."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

from markdown_it import MarkdownIt

from latentedit.core.errors import ConfigError
from latentedit_bench.experiments.base import RULE
from latentedit_bench.experiments.claim import Claim
from latentedit_bench.experiments.run import PLANS, read_plans, read_records
from latentedit_bench.report.page import page as document
from latentedit_bench.report.page import picture_uri, render
from latentedit_keep.files import write_text

MEANING = (
    "A claim holds where the 95 % interval of its measure lies above 0, does not hold where it lies below, and is "
    "undecided at this size otherwise. Intervals come from a bootstrap over images and are not corrected for "
    "multiple tests: one false claim in forty would hold. Stored experiments that draw noise used one noise for all "
    "images, so their intervals do not cover the seed."
)
"""What verdicts mean, for those who read them."""

TITLE = "The papers' claims, one by one"


def page_files(page: Path) -> tuple[Path, Path]:
    """The Markdown and the HTML file of a page.

    Args:
        page: place of the Markdown file.

    Raises:
        ConfigError: a name without the ending .md.
    """
    if page.suffix != ".md":
        raise ConfigError(f"the page is called {page}, and its name must end in .md: the HTML file goes beside it")
    return page, page.with_suffix(".html")


def write_claims_page(folder: Path, page: Path, *, figures: Path | None = None) -> tuple[Path, Path]:
    """Write the page of everything that a folder holds; experiments of one paper stand together, as they were planned.

    Args:
        folder: of `run.reproduce`.
        page: place of the Markdown file; its links to figures start there. The HTML file beside it needs no other.
        figures: folder of the plots; the same folder by default.

    Returns:
        Both files.

    Raises:
        ConfigError: a name without the ending .md.
        FileFormatError: a file of the folder that is damaged.
        OutputError: the page cannot be written.
    """
    places = page_files(page)
    records = read_records(folder)
    plots = figures or folder
    drawn = {name: plots / f"{name}.webp" for name, record in records.items() if record.failure is None}
    links = {
        name: quote(Path(os.path.relpath(file, page.parent)).as_posix())
        for name, file in drawn.items()
        if file.exists()
    }
    text = render(
        "claims.md",
        title=TITLE,
        meaning=MEANING,
        plans=PLANS,
        rule=RULE,
        records=list(records.values()),
        missing=[name for name in read_plans(folder) if name not in records],
        figures=links,
        words=_words,
        cells=_cells,
    )
    write_text(places[0], text)
    write_text(places[1], document(TITLE, _html(text, {link: drawn[name] for name, link in links.items()})))
    return places


def _cells(claim: Claim) -> tuple[str, str, str, int, str]:
    """Model, measure, what was found, pictures and verdict."""
    return (claim.model, claim.measure, claim.text, claim.samples, claim.verdict)


def _words(value: Any, depth: int = 0) -> str:
    """A plain value as people write it."""
    match value:
        case bool():
            return "yes" if value else "no"
        case None:
            return "none"
        case float():
            return f"{value:g}"
        case dict():
            given = cast("dict[str, Any]", value)
            words = "; ".join(f"{name}: {_words(one, depth + 1)}" for name, one in given.items()) or "none"
            return f"({words})" if depth else words
        case list():
            return ", ".join(_words(one, depth + 1) for one in cast("list[Any]", value)) or "none"
        case _:
            return str(value)


def _html(text: str, figures: Mapping[str, Path]) -> str:
    """The page's body: headings that links find, figures inside, and no HTML but that of Markdown."""
    reader = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = reader.parse(text)
    for token, following in zip(tokens, [*tokens[1:], None], strict=True):
        if token.type == "heading_open" and token.tag == "h3" and following is not None:
            token.attrSet("id", following.content)
        for child in token.children or ():
            if child.type == "image" and child.attrs["src"] in figures:
                child.attrSet("src", picture_uri(figures[str(child.attrs["src"])].read_bytes(), "image/webp"))
    return reader.renderer.render(tokens, reader.options, {})
