"""The numbers of README.md and of the pages below docs/, read from `research/results/`, so that none is typed.

    python -m tools.marked_numbers

Comments, which no reader of the rendered page sees, say where a number or a table comes from, and this module fills in
what stands between them. A bar in one would end a table's cell on GitHub, so styles follow a semicolon. A place is keys
between slashes: of a list a number, or what a claim of the list measures.

    <!--FILE PLACE ; STYLE-->number<!--/-->         FILE is below research/results/; "PLACE over PLACE" is a ratio
    <!--table FILE PLACE | ROW-->rows<!--/table-->  ROW for each of the things there; the table's head is the page's own
    <!--table NAME-->rows<!--/table-->              by a template of ``marked_numbers.yaml``; NAME of WORD passes a word
    <!--text NAME-->sentences<!--/text-->           by such a template, for what several pages state

A style is a format specification, or like a row a format string with the names of the parts, `key` and `self`. Of an
estimate (a mapping with a mean, or the estimate of a claim) it writes that number, with ``.3f dB interval`` also its
bounds. ``better`` says whether `eim` errs less than the row it is subtracted from, ``name`` the last part of a path.
"""

import csv
import functools
import json
import re
import string
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import yaml
from scipy.stats import binomtest

from latentedit.core.errors import ConfigError
from latentedit.core.files import write_text

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "research" / "results"

TABLES: Mapping[str, str] = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text("utf-8"))
"""Name of a table, or of a text, to its template."""

_NUMBER = re.compile(r"<!--((?!table |text |/)[^>]+?)-->[^<]*<!--/-->")
_TEXT = re.compile(r"<!--text ([^>]+?)-->.*?<!--/text-->", re.DOTALL)
# A comment that begins a line ends the paragraph or list item before it.
_BEGINS_LINE = re.compile(rf"(?<=[^\n|])\n *(?={_NUMBER.pattern})")
_TABLE = re.compile(r"(<!--table ([^\n]+?)-->\n(?:\|[^\n]*\n){2}).*?<!--/table-->", re.DOTALL)


class _Style(string.Formatter):
    """The styles of the module's text; what is missing is written as nothing."""

    def get_value(self, key: int | str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:  # noqa: ARG002
        return kwargs.get(str(key))

    def format_field(self, value: Any, format_spec: str) -> str:
        if isinstance(value, bool):
            return "holds" if value else "**does not hold**"
        if format_spec == "name":
            return value.rpartition("/")[2]
        if format_spec == "better":
            sign = (value["low"] > 0) - (value["high"] < 0)
            return ("undecided", "`eim` is better", "`eim` is worse")[sign]
        digits, *unit = format_spec.removesuffix(" interval").split(" ") or [""]
        if isinstance(value, Mapping):
            mean = next(value[name] for name in ("mean", "estimate", "value") if name in value)
            bounds = [self.format_field(value.get(name), digits) for name in ("low", "high")]
            interval = f" [{', '.join(bounds)}]" if format_spec.endswith(" interval") and all(bounds) else ""
            return " ".join([self.format_field(mean, digits), *unit]) + interval
        return "" if value is None else " ".join([format(value, digits), *unit])


def main() -> None:
    """Fill in all pages."""
    for page in pages():
        text = page.read_text(encoding="utf-8")
        new = filled(text, RESULTS)
        if new != text:
            write_text(page, new)
            print(f"{page.relative_to(ROOT)}: numbers changed")


def pages() -> list[Path]:
    """The READMEs of the project and of its packages, and every page below docs/."""
    return [ROOT / "README.md", *sorted(ROOT.glob("[mr]*/*/README.md")), *sorted(ROOT.glob("docs/**/*.md"))]


def filled(page: str, results: Path) -> str:
    """The page with every marked number and table as the results have it; `ConfigError` where one is not there."""

    def read(file: str, place: str = "") -> Any:
        return _at(_content(results / file), place)

    def graded(file: str) -> dict[str, Any]:
        """Percentage of local edits with A or B, of each column of a table of grades, with its exact interval."""
        rows = [row for row in csv.DictReader(_lines(results / file)) if row.get("kind", "local") == "local"]
        names = [name for name in rows[0] if rows[0][name] in set("ABCF")]
        return {name: _share(sum(row[name] in "AB" for row in rows), len(rows)) for name in names}

    def counted(file: str) -> dict[str, Any]:
        """Percentage of accepted edits of each method, with its exact interval, over all sets of a table of counts."""
        rows = list(csv.DictReader(_lines(results / file)))
        totals = {row["method"]: [0, 0] for row in rows}
        for row in rows:
            totals[row["method"]][0] += int(row["accepted"])
            totals[row["method"]][1] += int(row["of"])
        return {method: _share(*total) for method, total in totals.items()}

    def number(mark: re.Match[str]) -> str:
        source, _, style = mark[1].rpartition(" ; ")
        file, _, place = source.partition(" ")
        top, _, bottom = place.partition(" over ")
        value = read(file, top) / read(file, bottom) if bottom else read(file, top)
        return f"<!--{mark[1]}-->{_reported(value, style)}<!--/-->"

    def table(mark: re.Match[str]) -> str:
        source, inline, row = mark[2].partition(" | ")
        if inline:
            found = read(*source.split(" ", 1))
            keys = found if isinstance(found, Mapping) else range(len(found))
            rows = "\n".join(f"| {_reported(found[key], row, key)} |" for key in keys)
        else:
            name, _, of = source.partition(" of ")
            rows = _templates().from_string(TABLES[name]).render(read=read, of=of).strip()
        return mark[1] + re.sub(r"\|  (?=\|)", "| ", rows) + "\n<!--/table-->"

    def text(mark: re.Match[str]) -> str:
        words = _templates().from_string(TABLES[mark[1]]).render(read=read, graded=graded, counted=counted).split()
        return f"<!--text {mark[1]}-->{' '.join(words)}<!--/text-->"

    try:
        page = _TEXT.sub(text, page)
        return _NUMBER.sub(number, _TABLE.sub(table, _BEGINS_LINE.sub(" ", page)))
    except (OSError, LookupError) as error:
        raise ConfigError(f"the page marks what is not there: {error}") from error


def _lines(file: Path) -> list[str]:
    return file.read_text(encoding="utf-8").splitlines()


def _share(count: int, total: int) -> dict[str, float]:
    """Percentage with the exact interval of Clopper and Pearson."""
    bounds = binomtest(count, total).proportion_ci(method="exact")
    return {"mean": 100 * count / total, "low": 100 * bounds.low, "high": 100 * bounds.high, "of": total}


@functools.cache
def _templates() -> jinja2.Environment:
    made = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    # Jinja2 declares no type of its filters.
    made.filters["formatted"] = _reported  # pyrefly: ignore[unsupported-operation]
    return made


def _reported(value: Any, style: str, key: Any = None) -> str:
    row = style if "{" in style else f"{{self:{style}}}"
    parts = value if isinstance(value, Mapping) else {}
    return _Style().vformat(row, (), {**parts, "self": value, "key": key})


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
    """The value at a place."""
    for key in place.split("/") if place else ():
        if not isinstance(value, list):
            value = value[key]
        else:
            value = value[int(key)] if key.isdigit() else {one["measure"]: one for one in reversed(value)}[key]
    return value


if __name__ == "__main__":
    main()
