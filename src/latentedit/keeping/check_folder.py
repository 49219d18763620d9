"""`check` on many pairs: a report for each, a table, a CSV file and a page. A stopped run continues.

The output folder has reports/NAME.json (the report, and a key of the files and limits that it was made of),
panels/NAME.jpg (original and edited image with outlines), pages/NAME.html (the viewer), check.csv (a row for each
report) and index.html (the same as a page).
"""

import contextlib
import dataclasses
import functools
import hashlib
import html
import importlib.metadata
import json
import multiprocessing
import os
import string
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from latentedit.core.console import Progress
from latentedit.core.errors import ConfigError, LatentEditError, OutputError
from latentedit.core.files import as_text, make_folder, read_json, write_table, write_text
from latentedit.keeping.checking import check, outcome
from latentedit.keeping.pairs import Pair, each_pair, pairs_of, slug_of
from latentedit.photo.images import read_content, read_pixels
from latentedit.photo.saving import save_image
from latentedit.photo.warp import cv2
from latentedit.viewer.page import resource

_QUALITY = 88  # WebP quality of the viewer's images
NOT_CHECKED = "not checked"


def check_many(
    original: Path,
    edited: Path | None,
    mask: Path | None,
    output: Path,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
    **limits: Any,
) -> dict[str, dict[str, Any]]:
    """Check all pairs of two folders or of a list, write the reports, and return them by name, with the failures."""
    # Folders have images of the same names; those of the masks may be incomplete. A list is CSV or JSON with "edited",
    # "original" and optionally "mask" and "name". There is a worker for each core by default; ``limits`` are `check`'s.
    named, skipped = pairs_of(original, edited, mask)
    pairs = {as_text(name): pair for name, pair in named.items()}
    failed = {as_text(name): why for name, why in skipped.items()}
    if workers is not None and workers < 1:
        raise ConfigError(f"`workers` must be at least 1; got {workers}")
    if output.resolve() in {place.resolve() for place in (original, edited, mask) if place is not None}:
        raise OutputError(f"the output folder {output} is an input folder. Choose another one")
    for folder in (output, *(output / name for name in ("reports", "panels", "pages"))):
        make_folder(folder)
    start, count = functools.partial(_start, output, limits), workers or os.cpu_count() or 1
    found = dict(each_pair(pairs, start, kind="pairs", workers=count, progress=progress))
    failed |= {name: why for name, why in found.items() if isinstance(why, str)}
    results = {name: report for name in pairs if not isinstance(report := found[name], str)}
    write_table(output / "check.csv", [{"name": name, **_flat(report)} for name, report in results.items()])
    write_text(output / "index.html", _page(results, failed))
    return {"results": results, "failed": failed}


def _start(output: Path, limits: dict[str, Any]) -> Callable[..., dict[str, Any]]:
    if multiprocessing.parent_process() is not None:
        cv2.setNumThreads(1)
    return functools.partial(_checked, output=output, limits=limits)


def _checked(task: tuple[str, Pair], *, output: Path, limits: dict[str, Any]) -> dict[str, Any]:
    """The report on a pair as plain values; a stored report on the same files is reused."""
    name, pair = task
    slug = slug_of(name)
    contents = [b"" if place is None else read_content(place) for place in pair]
    program = importlib.metadata.version("latentedit")
    key = json.dumps(
        [2, program, *(hashlib.sha256(content).hexdigest() for content in contents), limits, [*map(str, pair)]]
    )
    panel, page = output / "panels" / f"{slug}.jpg", output / "pages" / f"{slug}.html"
    before = _finished(output / "reports" / f"{slug}.json", key)
    if before is not None and panel.is_file() and page.is_file():
        return before
    # The report is on what was read above, whatever becomes of the files meanwhile.
    first, second, mask = (
        None if place is None else read_pixels(place, content=content)
        for place, content in zip(pair, contents, strict=True)
    )
    result = check(first, second, mask=mask, **limits)
    save_image(result.panel, panel)
    view = dataclasses.replace(result.kept.view(), quality=_QUALITY)
    view.save(page)
    report: dict[str, Any] = json.loads(as_text(json.dumps(result.report.values, ensure_ascii=False), "replace"))
    stored = json.dumps({"key": key, "checksum": _checksum(report), "report": report})
    write_text(output / "reports" / f"{slug}.json", stored)
    return report


def _finished(place: Path, key: str) -> dict[str, Any] | None:
    """The report in a file if it is intact and has the same key."""
    with contextlib.suppress(LatentEditError, TypeError, KeyError):
        before = read_json(place)
        if before["key"] == key and before["checksum"] == _checksum(before["report"]):
            return before["report"]
    return None


def _checksum(report: Any) -> int:
    return zlib.crc32(json.dumps(report).encode())


def _flat(report: Mapping[str, Any]) -> dict[str, Any]:
    """One cell for each value: a measure has two, of regions only the number counts."""
    cells: dict[str, Any] = {}
    for key, value in report.items():
        if isinstance(value, dict) and "uncertainty" in value:
            cells |= {key: value["value"], f"{key}_uncertainty": value["uncertainty"]}
        elif key == "declares":
            cells |= {f"{role}_declares": one and one["words"] for role, one in value.items()}
        elif isinstance(value, dict):
            cells[key] = value["fingerprint"]
        elif isinstance(value, list):
            texts = [str(one) for one in value]
            cells[key] = len(texts) if key == "regions" else "x".join(texts) if "size" in key else "; ".join(texts)
        else:
            cells[key] = value
    return cells


def counted(words: Sequence[str]) -> str:
    """Such as "3 passed, 1 failed"."""
    return ", ".join(f"{words.count(word)} {word}" for word in dict.fromkeys(words))


def _page(results: Mapping[str, Mapping[str, Any]], failed: Mapping[str, str]) -> str:
    """A self-contained page next to the panels; failed checks come first."""
    rows: list[str] = []
    for name, report in sorted(results.items(), key=lambda pair: pair[1]["passed"] is not False):
        slug, word = quote(slug_of(name)), outcome(report)
        image = f'<img src="panels/{slug}.jpg" alt="original and edited image" loading="lazy">'
        image = f'<a href="pages/{slug}.html">{image}</a>'
        stated = (f"{role} {one['words']}" for role, one in report["declares"].items() if one)
        lines = (*(f"also: {text}" for text in report["also"]), *stated, *report["doubts"], report["next_step"])
        small = "<br>".join(html.escape(line) for line in lines)
        printed = f"<b>{word}</b>: {html.escape(report['verdict'])}<br><small>{small}</small>"
        keys = [key for key in ("changed", "outside") if report[key]]
        shares = "".join(f"<td>{key}\u00a0{100 * report[key]['value']:.2f}\u00a0%</td>" for key in keys)
        rows.append(f'<tr class="{word}"><td>{image}</td><td>{html.escape(name)}</td><td>{printed}</td>{shares}</tr>')
    row = f'<tr class="failed"><td></td><td>{{}}</td><td><b>{NOT_CHECKED}</b>: {{}}</td></tr>'
    rows += [row.format(html.escape(name), html.escape(why)) for name, why in failed.items()]
    counts = counted([outcome(report) for report in results.values()] + [NOT_CHECKED] * len(failed))
    page = string.Template("".join(resource("check.html").splitlines()))
    return page.substitute(counts=counts, rows="".join(rows)) + "\n"
