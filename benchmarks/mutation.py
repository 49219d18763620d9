"""Which bugs the tests see: one line is broken at a time, in a copy, and the tests of its module are run.

    python benchmarks/mutation.py                                the realistic bugs of mutants.yaml
    python benchmarks/mutation.py --since main~20 --count 40     and random ones in the lines that changed since
    python benchmarks/mutation.py --only A05 --only F09          some of them, with what the tests said

A bug is killed where a test fails or takes more than ``--limit`` seconds; one that cannot be imported is left out.
``--save`` writes the rates by package to results/mutation.json and .md, and goes on where such a run was stopped; what
``--only`` names is asked again. The hook of types is off: users have none.
"""

import argparse
import ast
import collections
import dataclasses
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import diffusers  # noqa: F401 - children have it then
import hypothesis  # noqa: F401
import pandas as pd  # noqa: F401
import pytest
import torch
import transformers  # noqa: F401
import yaml
from results import RESULTS, save, table

ROOT = Path(__file__).resolve().parents[1]
FIXED = Path(__file__).with_name("mutants.yaml")
SOURCES = ("src", *(f"packages/{name}/src" for name in ("bench", "models", "portraits", "scenes")))
MOST_FILES = 3
"""Test files of a mutant that names none: those of its module's name first, then those that import it."""

KILLED, SURVIVED, BROKEN, UNSOUND = "killed", "survived", "cannot be imported", "its test fails without it"
_FAILED, _INTERRUPTED = 1, 2


@dataclasses.dataclass(frozen=True, slots=True)
class Mutant:
    """One bug.

    Args:
        name: short.
        file: below the repository's root.
        place: of what is replaced, in characters.
        old: what stands there.
        new: what takes its place.
        tests: files or folders that are run.
    """

    name: str
    file: str
    place: int
    old: str
    new: str
    tests: tuple[str, ...]

    @property
    def package(self) -> str:
        """By which rates are told: the first two folders of its module."""
        parts = Path(self.file).parts
        inside = parts[parts.index("src") + 1 :]
        return ".".join(inside[:2] if len(inside) > 2 else inside[:1])


def fixed(only: Sequence[str]) -> Iterator[Mutant]:
    """The bugs of the list; one whose line is gone is an error, for a list that rots measures nothing."""
    for name, told in yaml.safe_load(FIXED.read_text("utf-8")).items():
        if only and name not in only:
            continue
        text = (ROOT / told["file"]).read_text("utf-8")
        if text.count(told["old"]) != 1:
            raise SystemExit(
                f"{name}: {told['old']!r} stands {text.count(told['old'])} times in {told['file']}, not once"
            )
        tests = tuple(told["tests"]) if "tests" in told else tests_of(told["file"])
        yield Mutant(name, told["file"], text.index(told["old"]), told["old"], told.get("new", ""), tests)


def drawn(since: str, count: int, seed: int) -> Iterator[Mutant]:
    """Random bugs in the lines of our sources that changed since a commit."""
    diff = subprocess.run(
        ["git", "diff", "--unified=0", since, "--", *SOURCES], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    found: list[Mutant] = []
    for part in re.split(r"^diff --git ", diff, flags=re.MULTILINE)[1:]:
        name = re.search(r"^\+\+\+ b/(.*\.py)$", part, flags=re.MULTILINE)
        if name is None:
            continue
        lines = {
            line
            for start, length in re.findall(r"^@@ [^+]*\+(\d+)(?:,(\d+))? @@", part, flags=re.MULTILINE)
            for line in range(int(start), int(start) + int(length or 1))
        }
        found += mutants_of(name[1], lines)
    generator = random.Random(seed)
    yield from sorted(generator.sample(found, min(count, len(found))), key=lambda one: (one.file, one.place))


def mutants_of(file: str, lines: set[int]) -> list[Mutant]:
    """Every bug that the operators can make in some lines of a file."""
    text = (ROOT / file).read_text("utf-8")
    starts = [0]
    for line in text.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))

    def at(node: ast.expr | ast.keyword) -> tuple[int, int]:  # columns count bytes
        def place(line: int, column: int) -> int:
            row = text[starts[line - 1] : starts[line]]
            return starts[line - 1] + len(row.encode()[:column].decode())

        last_line, last = node.end_lineno, node.end_col_offset
        if last_line is None or last is None:
            raise AssertionError
        return place(node.lineno, node.col_offset), place(last_line, last)

    tests, found = tests_of(file), list[Mutant]()
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.expr | ast.keyword) or node.lineno not in lines:
            continue
        begin, end = at(node)
        for new in replacements(node, text[begin:end], lambda one: text[slice(*at(one))]):
            name = f"{Path(file).stem}:{node.lineno}:{len(found)}"
            found.append(Mutant(name, file, begin, text[begin:end], new, tests))
    return found


_SWAPPED = {"<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "==", "+": "-", "-": "+", "*": "/", "/": "*"}
_SIGNS = "<", "<=", ">", ">=", "==", "!=", "+", "-", "*", "/"
_KINDS = ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Eq, ast.NotEq, ast.Add, ast.Sub, ast.Mult, ast.Div
_OPERATORS = dict(zip(_KINDS, _SIGNS, strict=True))
_NAMES = {"min": "max", "max": "min", "any": "all", "all": "any", "minimum": "maximum", "maximum": "minimum"}
_SPLITS = {"'calibration'": "'test'", "'test'": "'calibration'"}
_DROPPED = frozenset(("seed", "dtype", "index", "guidance", "condition", "device", "gain", "groups", "mask"))
_NEGATED = frozenset(("local", "beside", "antithetic", "one_sided"))
_PAIRS = (("source", "target"), ("c0", "c1"), ("before", "after"), ("original", "edited"))


def replacements(node: ast.expr | ast.keyword, text: str, source: Callable[[ast.expr], str]) -> Iterator[str]:
    """Bugs as people make them: signs, ends, splits, seeds, dtypes, locality, the order of two conditions, levels."""
    match node:
        case ast.Compare(left=left, ops=[operator], comparators=[right]) if type(operator) in _OPERATORS:
            yield f"({source(left)}) {_SWAPPED[_OPERATORS[type(operator)]]} ({source(right)})"
        case ast.BinOp(left=left, op=operator, right=right) if _is_number(node, source):
            yield f"(({source(left)}) {_SWAPPED[_OPERATORS[type(operator)]]} ({source(right)}))"
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            yield f"({source(operand)})"
        case ast.BoolOp(values=[first, second]):
            yield f"(({source(first)}) {'or' if isinstance(node.op, ast.And) else 'and'} ({source(second)}))"
        case ast.IfExp(test=test, body=body, orelse=other):
            yield f"(({source(other)}) if {source(test)} else ({source(body)}))"
        case ast.Constant(value=str()) if repr(node.value) in _SPLITS:
            yield _SPLITS[repr(node.value)]
        case ast.Constant(value=float() as value):
            yield repr(1 - value if 0 < value < 1 and value != 0.5 else 2 * value or 1.0)
        case ast.keyword(arg=str() as name, value=value) if name in _DROPPED and not isinstance(value, ast.Constant):
            yield f"{name}=0" if name == "seed" else f"{name}=None"
        case ast.keyword(arg=str() as name, value=value) if name in _NEGATED:
            yield f"{name}=not ({source(value)})"
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)) if name in _NAMES:
            called = source(node.func)
            yield called[: -len(name)] + _NAMES[name] + text[len(called) :]
        case ast.Call(args=[*_, ast.Name(id=one), ast.Name(id=other)]) if (one, other) in _PAIRS:
            head, _, tail = text.rpartition(f"{one}, {other}")
            yield f"{head}{other}, {one}{tail}"
        case _:
            return


def _is_number(node: ast.BinOp, source: Callable[[ast.expr], str]) -> bool:
    """Texts are joined and paths made by the same operators; a crash is no realistic bug."""
    texts = any(
        isinstance(one, ast.JoinedStr) or isinstance(getattr(one, "value", None), str) for one in ast.walk(node)
    )
    return type(node.op) in _OPERATORS and not texts and not re.search("(?i)folder|path|root|place", source(node))


def tests_of(file: str) -> tuple[str, ...]:
    """Test files of a module: of its name in or below the folder that mirrors it, and those that import it."""
    parts = Path(file).with_suffix("").parts
    inside = parts[parts.index("src") + 1 :]
    dotted = ".".join(inside)
    folder = {
        "latentedit": (),
        "latentedit_bench": ("bench",),
        "latentedit_portraits": ("portraits",),
        "latentedit_scenes": ("scenes",),
    }.get(inside[0], ("models",))
    mirrored = Path("tests", *folder, *inside[1:-1], f"test_{inside[-1]}.py")
    named = sorted((ROOT / mirrored.parent).rglob(mirrored.name), key=lambda place: len(place.parts))
    found = [place.relative_to(ROOT).as_posix() for place in named]
    imports = re.compile(rf"\b{re.escape(dotted)}\b|from {re.escape('.'.join(inside[:-1]))} import .*\b{inside[-1]}\b")
    near = [
        place
        for place in sorted((ROOT / "tests").rglob("test_*.py"), key=lambda place: place.stat().st_size)
        if "browser" not in place.name and imports.search(place.read_text("utf-8"))
    ]
    found += [name for place in near if (name := place.relative_to(ROOT).as_posix()) not in found]
    return tuple(found[:MOST_FILES]) or (str(mirrored.parent),)


class Copy:
    """The repository by hard links; a context manager."""

    def __enter__(self) -> "Copy":
        """Link every file that is tracked, or could be."""
        self.folder = Path(tempfile.mkdtemp(prefix="mutate-", dir=ROOT.parent))
        names = subprocess.run(
            ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, check=True, capture_output=True
        )
        for name in filter(lambda one: (ROOT / one).exists(), names.stdout.decode().splitlines()):
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            os.link(ROOT / name, self.folder / name)
        return self

    def __exit__(self, *_: object) -> None:
        """Remove it."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def mutated(self, mutant: Mutant, *, limit: float, shown: bool) -> str:
        """What came of a mutant; a test that fails without it too shows nothing."""
        place = self.folder / mutant.file
        text = (ROOT / mutant.file).read_text("utf-8")
        place.unlink()  # a link: what it leads to stays
        place.write_text(text[: mutant.place] + mutant.new + text[mutant.place + len(mutant.old) :], "utf-8")
        try:
            status = self._status(mutant.tests, limit=limit, shown=shown)
        finally:
            place.unlink()
            os.link(ROOT / mutant.file, place)
        if status in (0, _INTERRUPTED):
            return BROKEN if status else SURVIVED
        failed = self._failed.read_text("utf-8") if status == _FAILED else ""
        if failed and self._status([failed], limit=limit, shown=shown) != 0:
            print(f"{failed} fails without any bug. Mend it first", flush=True)
            return UNSOUND
        return KILLED

    def _status(self, tests: Sequence[str], *, limit: float, shown: bool) -> int:
        """Exit status of pytest in a process of its own, which has the libraries of others already; -1 is too long."""
        child = os.fork()
        if child == 0:
            os.setsid()
            os._exit(self._run(tests, shown=shown))
        end = time.monotonic() + limit
        while time.monotonic() < end:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.05)
        os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return -1

    @property
    def _failed(self) -> Path:
        return self.folder / "failed.txt"

    def _run(self, tests: Sequence[str], *, shown: bool) -> int:
        os.chdir(self.folder)
        places = [str(self.folder / source) for source in SOURCES]
        sys.path[:0] = [str(self.folder), *places]
        os.environ["PYTHONPATH"] = os.pathsep.join([str(self.folder), *places])
        sys.dont_write_bytecode = True
        if not shown:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 1)
            os.dup2(nowhere, 2)
        words = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-o", "addopts=--strict-markers", *tests]
        return int(pytest.main(words, plugins=[_Names(self._failed)]))


class _Names:
    """Writes down which test failed."""

    def __init__(self, place: Path) -> None:
        self._place = place

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self._place.write_text(report.nodeid, "utf-8")


def main() -> None:
    """Break, run, tell."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--only", action="append", default=[], help="a bug of the list; repeatable")
    options.add_argument("--since", help="also random ones in what changed since a commit")
    options.add_argument("--count", type=int, default=20, help="of random ones")
    options.add_argument("--seed", type=int, default=0, help="of random ones")
    options.add_argument("--limit", type=float, default=150, help="seconds of one")
    options.add_argument("--save", action="store_true", help="write results/mutation.json and .md")
    chosen = options.parse_args()
    mutants = list(fixed(() if chosen.save else chosen.only))
    if chosen.since:
        mutants += drawn(chosen.since, chosen.count, chosen.seed)
    torch.set_num_threads(1)
    results = known(mutants, again=chosen.only) if chosen.save else {}
    with Copy() as copy:
        for number, one in enumerate(mutants, 1):
            if one.name in results:
                continue
            results[one.name] = copy.mutated(one, limit=chosen.limit, shown=bool(chosen.only))
            told = f"{one.file}: {one.old!r} -> {one.new!r}" if results[one.name] != KILLED else one.file
            print(f"{number}/{len(mutants)} {one.name}: {results[one.name]}  {told}", flush=True)
            if chosen.save:
                store([one for one in mutants if one.name in results], results)
    print("\n".join("  ".join(row) for row in rates([one for one in mutants if one.name in results], results)))


def known(mutants: Sequence[Mutant], *, again: Sequence[str]) -> dict[str, str]:
    """Results that are stored, of mutants that are the same still and are not to be asked again."""
    place = RESULTS / "mutation.json"
    stored = json.loads(place.read_text("utf-8"))["mutants"] if place.exists() else {}
    return {
        one.name: stored[one.name]["result"]
        for one in mutants
        if one.name not in again
        and {**stored.get(one.name, {}), "tests": 0, "place": 0, "result": 0}
        == {**dataclasses.asdict(one), "tests": 0, "place": 0, "result": 0}
    }


def store(mutants: Sequence[Mutant], results: dict[str, str]) -> None:
    """The table, with what was broken in each survivor."""
    left = [one for one in mutants if results[one.name] not in (KILLED, BROKEN)]
    content = {"mutants": {one.name: {**dataclasses.asdict(one), "result": results[one.name]} for one in mutants}}
    lines = [*table(["package", "bugs", "killed", "rate"], rates(mutants, results)), "Not killed:", ""]
    lines += [f"* `{one.name}` {one.file}: `{one.old}` -> `{one.new}` ({results[one.name]})" for one in left] or [
        "none"
    ]
    save(RESULTS / "mutation", content, lines)


def rates(mutants: Sequence[Mutant], results: dict[str, str]) -> list[list[str]]:
    """By package: bugs that can be imported, how many were killed, and the share."""
    counts: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for one in mutants:
        for name in (one.package, "all"):
            counts[name][results[one.name]] += 1
    return [
        [name, str(bugs), str(count[KILLED]), f"{count[KILLED] / max(1, bugs):.2f}"]
        for name, count in sorted(counts.items())
        for bugs in [count.total() - count[BROKEN]]
    ]


if __name__ == "__main__":
    main()
