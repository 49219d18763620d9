"""The numbers of README.md and of the pages below docs/, read from `results/`, so that none is typed.

    python -m tools.marked_numbers

A page marks its numbers by comments, which no reader of the rendered page sees, and this module fills in what stands
between them: ``<!--NAME-->text<!--/-->`` is one of `NUMBERS`, ``<!--table NAME-->...<!--/table-->`` one of `TABLES`.
What each of them is stands in ``marked_numbers.yaml`` beside this file.
"""

import csv
import functools
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import yaml

from latentedit.core.errors import ConfigError
from latentedit_keep.files import write_text

ROOT = Path(__file__).resolve().parents[1]

_KNOWN = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text("utf-8"))

NUMBERS: Mapping[str, Sequence[str]] = _KNOWN["numbers"]
"""Name of a number to its file below `results/`, its place there (see `_at`), and how it is written."""

TABLES: Mapping[str, str] = _KNOWN["tables"]
"""Name of a table to its template."""


def main() -> None:
    """Fill in all pages."""
    for page in pages():
        text = page.read_text(encoding="utf-8")
        new = filled(text, ROOT / "results")
        if new != text:
            write_text(page, new)
            print(f"{page.relative_to(ROOT)}: numbers changed")


def pages() -> list[Path]:
    """README.md and every page below docs/."""
    return [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md"))]


def filled(page: str, results: Path) -> str:
    """The page with every marked number and table as the results have it.

    Args:
        page: Markdown.
        results: the folder of the results.

    Raises:
        ConfigError: a mark with a name that is not known.
    """
    templates = jinja2.Environment(
        loader=jinja2.DictLoader(TABLES), undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    templates.filters["told"] = _told

    def read(file: str, place: str = "") -> Any:
        return _at(_content(results / file), place)

    def table(mark: re.Match[str]) -> str:
        filled_in = templates.from_string(_known(TABLES, mark[1])).render(read=read)
        return f"<!--table {mark[1]}-->\n{filled_in.strip()}\n<!--/table-->"

    page = re.sub(r"<!--table (.+?)-->.*?<!--/table-->", table, page, flags=re.DOTALL)
    return re.sub(
        r"<!--((?!table |/)[^>]+?)-->[^<]*<!--/-->",
        lambda mark: f"<!--{mark[1]}-->{_number(results, *_known(NUMBERS, mark[1]))}<!--/-->",
        page,
    )


def _known(things: Mapping[str, Any], name: str) -> Any:
    if name not in things:
        raise ConfigError(f"the page marks {name!r}, which marked_numbers.yaml does not know. Add it there")
    return things[name]


def _number(results: Path, file: str, place: str, style: str) -> str:
    top, _, bottom = place.partition(" over ")
    value = _at(_content(results / file), top)
    if bottom:
        value /= _at(_content(results / file), bottom)
    return _told(value, style)


def _told(value: Any, style: str) -> str:
    return style.format(**value) if isinstance(value, dict) else style.format(value)


@functools.cache
def _content(file: Path) -> Any:
    """A JSON file, or a table of estimates: its first column to its second one to the numbers."""
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".json":
        return json.loads(text)
    summary: dict[str, dict[str, dict[str, float]]] = {}
    for row in csv.DictReader(text.splitlines()):
        numbers = {name: float(row[name] or "nan") for name in ("mean", "low", "high")}
        first, second, *_ = row.values()
        summary.setdefault(first, {})[second] = numbers
    return summary


def _at(value: Any, place: str) -> Any:
    """The value at a place: keys between slashes; of a list a number, or what a claim of the list measures."""
    for key in place.split("/") if place else ():
        if not isinstance(value, list):
            value = value[key]
        elif key.isdigit():
            value = value[int(key)]
        else:
            value = next(claim for claim in value if claim["measure"] == key)
    return value


if __name__ == "__main__":
    main()
