"""What was found of all claims, as one page: Markdown, and beside it the same as one HTML file."""

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

from markdown_it import MarkdownIt

from latentedit.core.errors import ConfigError
from latentedit.core.files.writing import write_text
from latentedit_bench.experiments.base import RULE
from latentedit_bench.experiments.claim import Claim
from latentedit_bench.experiments.run import PLANS, Record, read_claims, read_plans, read_records
from latentedit_bench.report.page import page as document
from latentedit_bench.report.page import picture_uri

CLAIMS_FILE = "claims.md"
"""Of analyses on given pictures."""

MEANING = (
    "A claim holds where the 95 % interval of its measure lies above 0, does not hold where it lies below, and is "
    "undecided at this size otherwise. Intervals are of a bootstrap over pictures, each by itself: of many claims that "
    "are not true, one in forty would still hold."
)
"""What verdicts mean, for those who read them."""

TITLE = "The papers' claims, one by one"

_NOT_THEIRS = (
    "The models are ours, small ones that were trained on drawn portraits and on discs, and not the papers' models. "
    "What does not hold here may hold there, and the other way round. The papers' statements are in our words. Where "
    "the EIM paper searches by Hessian score distillation, our search is our own derivation: its formula is in no text "
    "that we have."
)
_QUICK = (
    "What is marked quick was asked with a smaller plan: fewer pictures or items, often fewer levels and one model "
    "only. It shows that the measurement runs, and decides little."
)
_TROUBLE = str.maketrans({letter: f"\\{letter}" for letter in "\\`*<"})


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


def write_claims_page(folder: Path, page: Path) -> tuple[Path, Path]:
    """Write the page of everything that a folder holds.

    Args:
        folder: of `run.reproduce`.
        page: place of the Markdown file; its links to figures start there. The HTML file beside it needs no other.

    Returns:
        Both files.

    Raises:
        ConfigError: a name without the ending .md.
        FileFormatError: a file of the folder that is damaged.
        OutputError: the page cannot be written.
    """
    places = page_files(page)
    records = read_records(folder)
    planned = read_plans(folder)
    missing = [name for name in planned if name not in records]
    drawn = {name: folder / f"{name}.png" for name, record in records.items() if record.failure is None}
    figures = {
        name: quote(Path(os.path.relpath(file, page.parent)).as_posix())
        for name, file in drawn.items()
        if file.exists()
    }
    text = _text(list(records.values()), missing, figures)
    write_text(places[0], text)
    write_text(places[1], document(TITLE, _html(text, {link: drawn[name] for name, link in figures.items()})))
    return places


def verdict_text(record: Record) -> str:
    """The verdict of the first claim, and whether it was quick."""
    word = "failed" if record.failure is not None else record.claims[0].verdict if record.claims else "not measured"
    return f"{word}, quick" if record.about["quick"] else word


def _text(records: Sequence[Record], missing: Sequence[str], figures: Mapping[str, str]) -> str:
    """The page in Markdown; experiments of one paper stand together, in the order of their plans."""
    count = sum(len(record.claims) for record in records)
    lines = [f"# {TITLE}", "", f"{MEANING} Numbers of this kind below: {count}.", "", _NOT_THEIRS, ""]
    lines += [f"Every plan was written to `{PLANS}` before its experiment measured anything.", ""]
    if any(record.about["quick"] for record in records):
        lines += [_QUICK, ""]
    lines += table_head("experiment", "the paper says", "verdict", "number", "of", "pictures")
    lines += [_overview(record) for record in records]
    if missing:
        lines += ["", f"Planned here, and not finished: {', '.join(missing)}."]
    for paper in dict.fromkeys(record.about["paper"] for record in records):
        lines += ["", f"## {_safe(paper)}"]
        for record in records:
            if record.about["paper"] == paper:
                lines += ["", *_section(record, figures.get(record.name))]
    return "\n".join(lines) + "\n"


def _overview(record: Record) -> str:
    """A row of the first table."""
    first = record.claims[0] if record.claims else None
    found = ("-", "-", "-") if first is None else (number_text(first), f"{first.model}: {first.measure}", first.samples)
    link, said = f"[{record.name}](#{record.name})", _safe(record.about["statement"])
    return table_row(link, said, verdict_text(record), found[0], _safe(str(found[1])), found[2])


def _section(record: Record, figure: str | None) -> list[str]:
    """What was claimed, planned and found."""
    about = record.about
    lines = [f"### {record.name}", "", f"**The paper says:** {_safe(about['statement'])}.", ""]
    rule = "The rule is the one above" if about["rule"] == RULE else f"A claim {_safe(about['rule'])}"
    lines += [f"**What decides:** {_safe(about['statistic'])}. {rule}.", ""]
    lines += [f"**The plan{', quick' if about['quick'] else ''}:**", ""]
    lines += [f"* {_safe(name)}: {_safe(_words(value))}" for name, value in about["plan"].items()]
    if record.failure is not None:
        lines += ["", f"**It failed:** {_safe(record.failure)}"]
    if record.claims:
        lines += ["", *_table(record)]
    if record.notes:
        lines += ["", *(f"* {_safe(note)}" for note in record.notes)]
    if figure is not None:
        lines += ["", f"![{record.name}]({figure})"]
    stopped = "; an earlier run had been stopped or had failed, and its time is not counted" if record.resumed else ""
    lines += ["", f"`{record.command}`", ""]
    lines += [
        f"latentedit {record.latentedit}, {_time(record.seconds)}, at most {record.peak_bytes / 1e9:.1f} GB{stopped}."
    ]
    return lines


def _table(record: Record) -> list[str]:
    """All claims; what each says only where they say different things."""
    several = len({claim.statement for claim in record.claims}) > 1
    heads = ("claim",) if several else ()
    rows = [
        ((_safe(claim.statement),) if several else (), [_safe(str(cell)) for cell in claim_cells(claim)])
        for claim in record.claims
    ]
    return [
        *table_head(*heads, "model", "measure", "number", "pictures", "verdict"),
        *(table_row(*said, *cells) for said, cells in rows),
    ]


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


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def _safe(text: str) -> str:
    """On one line, and without a letter that Markdown would read as more than a letter."""
    return " ".join(text.split()).translate(_TROUBLE)


def _html(text: str, figures: Mapping[str, Path]) -> str:
    """The page's body: headings that links find, figures inside, and no HTML but that of Markdown."""
    reader = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = reader.parse(text)
    for token, following in zip(tokens, [*tokens[1:], None], strict=True):
        if token.type == "heading_open" and token.tag == "h3" and following is not None:
            token.attrSet("id", following.content)
        for child in token.children or ():
            if child.type == "image" and child.attrs["src"] in figures:
                child.attrSet("src", picture_uri(figures[str(child.attrs["src"])].read_bytes()))
    return reader.renderer.render(tokens, reader.options, {})


def write_analyses(folder: Path) -> Path:
    """Write ``claims.md`` from every analysis in a folder: a row a claim and model, with command, seeds and samples.

    Raises:
        OutputError: the folder cannot be written to.
    """
    stored = [json.loads(place.read_text(encoding="utf-8")) for place in sorted(folder.glob("*.json"))]
    found = [one for one in stored if isinstance(one, dict) and "claims" in one and "analysis" in one]
    lines = [f"# {TITLE}", "", MEANING, ""]
    lines += table_head("claim", "model", "measure", "found", "pictures", "verdict", "analysis")
    for one in found:
        lines += [
            table_row(claim.statement, *claim_cells(claim), one["analysis"]) for claim in read_claims(one["claims"])
        ]
    lines += ["", "## Verdicts, commands and settings", ""]
    for one in found:
        lines += [f"* **{one['analysis']}** ({one['title']}): {one['verdict']}", f"  `{one['command']}`"]
        for study in one["studies"]:
            levels = ", ".join(f"{level:.3g}" for level in study["levels"])
            lines.append(
                f"  {study['model']} ({study['model_fingerprint']}, {study['dtype']}): {len(study['pictures'])} "
                f"pictures, site {study['site']}, rank {study['rank']}, levels {levels}, {study['steps']} steps, seed "
                f"{study['seed']}"
            )
    path = folder / CLAIMS_FILE
    write_text(path, "\n".join(lines) + "\n")
    return path


def number_text(claim: Claim) -> str:
    """Such as "0.42 [0.31, 0.55]"."""
    if math.isnan(claim.estimate):
        return "not measured"
    ends = "" if math.isnan(claim.low + claim.high) else f" [{claim.low:.3g}, {claim.high:.3g}]"
    return f"{claim.estimate:.3g}{ends}"


def claim_cells(claim: Claim) -> tuple[str, str, str, int, str]:
    """Model, measure, what was found, pictures and verdict."""
    return (claim.model, claim.measure, number_text(claim), claim.samples, claim.verdict)


def table_head(*names: str) -> list[str]:
    """The first two lines of a Markdown table."""
    return [table_row(*names), "|" + "---|" * len(names)]


def table_row(*cells: object) -> str:
    """A line of a Markdown table; bars in cells stay in them."""
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"
