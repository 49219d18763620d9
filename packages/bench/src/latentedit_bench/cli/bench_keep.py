"""``latentedit bench keep``: `latentedit keep` against pairs whose answer is known."""

import contextlib
import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from latentedit._version import __version__
from latentedit.cli import options
from latentedit.core.errors import ConfigError
from latentedit_bench.cli.bench_options import Split
from latentedit_keep.console import print_json, progress_bar, say, typed_command

if TYPE_CHECKING:
    from latentedit_bench.known_pairs.measured import Row
    from latentedit_bench.known_pairs.photographs import Half


def keep(
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="The folder for the table; a stopped run goes on.", rich_help_panel=options.OUTPUT
        ),
    ] = Path("out/keep"),
    split: Split = "test",
    count: Annotated[int, typer.Option("--count", help="Cases.")] = 209,
    pairs: Annotated[
        Path | None,
        typer.Option("--pairs", help="Instead of the cases: a folder of pairs from real editors, with pairs.json."),
    ] = None,
    grades: Annotated[
        Path | None,
        typer.Option("--grades", help="With --pairs: the grades of the sheets (n,1,2,3,4), once they were looked at."),
    ] = None,
    node: Annotated[
        Path | None,
        typer.Option("--diff-merge", help="With --pairs: flux_kontext_diff_merge.py of a clone, to measure it beside."),
    ] = None,
    chains: Annotated[int, typer.Option("--chains", help="Photographs that are edited ten times in a row.")] = 6,
    workers: Annotated[int, typer.Option("--workers", help="Processes.")] = 1,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Measure `latentedit keep` on pairs with known changes and known damage, beside what people do today.

    Examples:
        latentedit bench keep
        latentedit bench keep --split calibration --workers 2 -o out/keep
        latentedit bench keep --pairs pairs/ -o out/pairs
        latentedit bench keep --pairs pairs/ -o out/pairs --grades grades.csv
    """
    if pairs is not None:
        told = _real(pairs, output, grades, node, quiet=quiet or as_json)
        if as_json:
            print_json(told)
        elif not quiet:
            for line in json.dumps(told["local"], indent=1).splitlines():
                say(line)
        return
    if split not in ("calibration", "test"):
        raise ConfigError(f"--split is calibration or test; got {split!r}")
    if min(count, workers) < 1 or chains < 0:
        raise ConfigError(f"--count and --workers are at least 1, --chains 0; got {count}, {workers} and {chains}")
    from latentedit_bench.known_pairs.cases import make_case
    from latentedit_bench.known_pairs.sheet import draw_cases, worst
    from latentedit_bench.known_pairs.summary import against, bars, parts
    from latentedit_keep.files import make_folder, write_text
    from latentedit_keep.pictures import save_image

    make_folder(output)
    with progress_bar(quiet=quiet or as_json) as progress:
        rows = _rows(output / "cases.jsonl", split, count, workers, progress)
        chain_rows = _chains(split, chains, workers, progress)
    found = bars(rows)
    failed = worst(rows, 10)
    if failed:
        save_image(draw_cases([make_case(split, index) for index in failed]), output / "worst.png")
    told: dict[str, Any] = {
        "command": typed_command(),
        "split": split,
        "cases": len(rows),
        "bars": [{**dataclasses.asdict(bar), "holds": bar.holds} for bar in found],
        "against": against(rows),
        "parts": {by: parts(rows, by) for by in ("what", "codec", "side", "picture")},
        "worst": [next(row for row in rows if row["case"] == index) for index in failed],
        "repeated": chain_rows,
    }
    write_text(output / "keep.json", json.dumps(told, indent=1))
    if as_json:
        print_json(told)
    elif not quiet:
        for bar in found:
            word = "holds" if bar.holds else "does not hold"
            say(f"{word:<14}{bar.value:8.3f} (bar {bar.bar:g})  {bar.statement}, {bar.cases} cases")


def _real(pairs: Path, output: Path, grades: Path | None, node: Path | None, *, quiet: bool) -> dict[str, Any]:
    """Measure real pairs, those that are not in the folder yet; then draw their sheets, or read the grades."""
    from latentedit_bench.known_pairs.real_pairs import draw_blind, graded, measured_pair, read_pairs, summary
    from latentedit_keep.files import make_folder, write_text

    make_folder(output)
    place, known = output / "pairs.jsonl", read_pairs(pairs)
    rows = {int(cast("int", row["n"])): row for row in _stored(place)}
    with progress_bar(quiet=quiet) as progress:
        for done, pair in enumerate(known, start=1):
            if pair["n"] not in rows:
                rows[pair["n"]] = measured_pair(pairs, pair, output, node)
                write_text(place, "".join(f"{json.dumps(row)}\n" for row in rows.values()))
            if progress is not None:
                progress("pairs", done, len(known))
    told = summary(list(rows.values()))
    if grades is not None:
        told |= {"command": typed_command(), "local": graded(list(rows.values()), output, grades)}
        write_text(output / "real.json", json.dumps(told, indent=1))
    else:
        draw_blind(pairs, [pair for pair in known if pair["kind"] == "local"], output)
        told["local"] = f"look at {output}/sheet*.png, write down a grade of each cell, and give them as --grades"
    return told


def _rows(place: Path, half: "Half", count: int, workers: int, progress: Any) -> "list[Row]":
    """The rows of all cases in order; what stands in the file is not measured again."""
    from concurrent.futures import ProcessPoolExecutor

    from latentedit.core.files.writing import told_unwritable

    known = _known(place, half)
    missing = [index for index in range(count) if index not in known]
    with place.open("a", encoding="utf-8") as file, ProcessPoolExecutor(workers) as pool:
        for done, row in enumerate(pool.map(_measure, [half] * len(missing), missing), start=1):
            with told_unwritable(place):
                file.write(f"{json.dumps(row)}\n")
                file.flush()
            known[int(cast("int", row["case"]))] = row
            if progress is not None:
                progress("cases", done, len(missing))
    return [known[index] for index in range(count)]


def _known(place: Path, half: "Half") -> "dict[int, Row]":
    """The stored rows of these cases and of this code, by the case."""
    return {int(cast("int", row["case"])): row for row in _stored(place) if _about(half).items() <= row.items()}


def _stored(place: Path) -> "list[Row]":
    """The rows of a file; a line that was cut off, as on a full disk, is taken out of it."""
    from latentedit_keep.files import write_text

    lines = place.read_text(encoding="utf-8").splitlines() if place.is_file() else []
    rows: list[Row] = []
    for line in lines:
        with contextlib.suppress(ValueError):
            rows.append(json.loads(line))
    if len(rows) < len(lines):
        write_text(place, "".join(f"{json.dumps(row)}\n" for row in rows))
    return rows


def _measure(half: "Half", index: int) -> "Row":
    from latentedit_bench.known_pairs.cases import make_case
    from latentedit_bench.known_pairs.measured import measured

    return {**_about(half), **measured(make_case(half, index))}


def _about(half: "Half") -> "Row":
    """Which cases, drawn from which number, and by which code."""
    from latentedit_bench.known_pairs.cases import SEEDS

    return {"split": half, "seed": SEEDS[half], "latentedit": __version__}


def _chains(half: "Half", chains: int, workers: int, progress: Any) -> "list[Row]":
    from concurrent.futures import ProcessPoolExecutor

    from latentedit_bench.known_pairs.repeated import repeated

    rows: list[Row] = []
    with ProcessPoolExecutor(workers) as pool:
        for done, found in enumerate(pool.map(repeated, [half] * chains, range(chains)), start=1):
            rows += found
            if progress is not None:
                progress("edits in a row", done, chains)
    return rows
