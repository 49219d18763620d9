"""The results of a paper's claims as one page, in Markdown and as one HTML file."""

import base64
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from markdown_it import MarkdownIt

from latentedit.core import ConfigError, write_text
from latentedit_bench.experiments.run import Record, read_records
from latentedit_bench.report.page import page as document
from latentedit_bench.report.page import render_page

TITLE = "The papers' claims"


def page_files(page: Path) -> tuple[Path, Path]:
    """The Markdown and the HTML file of a page."""
    if page.suffix != ".md":
        raise ConfigError(f"the page must end in .md; got {page}")
    return page, page.with_suffix(".html")


def write_claims_page(folder: Path, page: Path) -> tuple[Path, Path]:
    """Write the page of everything that a folder of `run.reproduce` holds, as Markdown and HTML; links start there."""
    places = page_files(page)
    records = read_records(folder)
    drawn = {one.name: file for one in records if (file := folder / f"{one.name}.webp").exists()}
    links = {name: quote(Path(os.path.relpath(file, page.parent)).as_posix()) for name, file in drawn.items()}
    text = claims_page(TITLE, records, links)
    write_text(places[0], text)
    write_text(places[1], document(TITLE, _html(text, {links[name]: file for name, file in drawn.items()})))
    return places


def claims_page(title: str, records: Sequence[Record], figures: Mapping[str, str]) -> str:
    """The page in Markdown; experiments of one paper stand together, and variants of a claim with it."""
    return render_page("claims.md", title=title, groups=_groups(records), figures=figures)


def _groups(records: Sequence[Record]) -> list[dict[str, Any]]:
    """Each claim with its variants: records whose claim is the same and says in brackets how it differs."""
    claims = {one.claim: dict[str, Any](record=one, variants=[]) for one in records}
    for one in records:
        base, _, how = one.claim.removesuffix(")").rpartition(" (")
        if base in claims:
            claims[base]["variants"].append((how, one))
            del claims[one.claim]
    return list(claims.values())


def _html(text: str, figures: Mapping[str, Path]) -> str:
    """The page's body: headings that links find, figures inside, and no HTML but that of Markdown."""
    reader = MarkdownIt("commonmark", {"html": False}).enable("table")
    text = text.replace("<details markdown><summary>", "**").replace("</summary>", "**").replace("</details>", "")
    tokens = reader.parse(text)
    for token, following in zip(tokens, [*tokens[1:], None], strict=True):
        if token.type == "heading_open" and token.tag == "h3" and following is not None:
            token.attrSet("id", following.content)
        for child in token.children or ():
            if child.type == "image" and child.attrs["src"] in figures:
                content = base64.b64encode(figures[str(child.attrs["src"])].read_bytes())
                child.attrSet("src", f"data:image/webp;base64,{content.decode('ascii')}")
    return reader.renderer.render(tokens, reader.options, {})
