"""Which bugs the tests see: random mutants of our sources, one at a time, each run against the tests of its module.

    python benchmarks/mutation.py                                       300 mutants of all packages
    python benchmarks/mutation.py --count 60 --module packages/bench/src/latentedit_bench/metrics/drift.py

A mutant is killed if a test fails or takes too long. They are drawn by a hash, so unchanged code keeps its mutants, and
what is finished is kept in out/ until the module or its tests change. Each runs in a fork of a process that has loaded
the heavy libraries. No package may fall below its rate in results/mutation.json; --update stores the rates of this run.
"""

import argparse
import ast
import collections
import copy
import functools
import hashlib
import importlib
import json
import os
import re
import resource
import signal
import time
from collections.abc import Iterator, Sequence
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
STORED, FINISHED, LOG = ROOT / "results/mutation.json", ROOT / "out/mutation.json", ROOT / "out/mutation.log"
HEAVY = ("torch", "scipy.stats", "pandas", "PIL.Image", "pydantic", "typer", "hypothesis")
HEAVY += ("diffusers", "transformers", "peft")
CPU_S, WALL_S = 120, 600  # the second ends what waits
KILLED, SURVIVED, NO_IMPORT, UNSOUND = "killed", "survived", "cannot be imported", "its test fails without it too"

BOUNDS = {"Lt": "LtE", "LtE": "Lt", "Gt": "GtE", "GtE": "Gt"}
SWAPS = {"Lt": "GtE", "LtE": "Gt", "Gt": "LtE", "GtE": "Lt", "Eq": "NotEq", "NotEq": "Eq", "In": "NotIn", "NotIn": "In"}
SWAPS |= {"Is": "IsNot", "IsNot": "Is", "And": "Or", "Or": "And", "Add": "Sub", "Sub": "Add", "Mult": "Div"}
SWAPS |= {"Div": "Mult", "Pow": "Mult", "FloorDiv": "Mult", "Mod": "Mult", "MatMult": "Mult"}
NAMES = {"min": "max", "max": "min", "any": "all", "all": "any", "minimum": "maximum", "maximum": "minimum"}
UNTESTED = frozenset(("strict", "help", "label", "name", "title", "encoding", "stacklevel", "message"))
NO_CODE = frozenset(("annotation", "returns", "decorator_list", "bases"))


def mutations(node: Any) -> Iterator[Any]:
    """What may stand in the place of a node. Bounds of real numbers stay: few inputs lie on them."""

    def changed(**fields: Any) -> Any:
        other = copy.copy(node)
        vars(other).update(fields)
        return other

    match node:
        case ast.Compare(ops=[operator], left=left, comparators=[right]):
            whole = any(isinstance(getattr(side, "value", None), int) for side in (left, right))
            kind = type(operator).__name__
            yield changed(ops=[getattr(ast, (BOUNDS if whole and kind in BOUNDS else SWAPS)[kind])()])
        case ast.BinOp() | ast.AugAssign() if re.search("'|(?i:folder|path|root|place|parent)", ast.unparse(node)):
            return  # texts are joined and paths made by the same operators
        case ast.BoolOp(op=operator) | ast.BinOp(op=operator) | ast.AugAssign(op=operator):
            yield from (changed(op=getattr(ast, new)()) for new in [SWAPS.get(type(operator).__name__)] if new)
        case ast.UnaryOp(op=ast.USub() | ast.Not(), operand=operand):
            yield operand
        case ast.Constant(value=bool() | int() | float() as value):
            new = not value if isinstance(value, bool) else value + 1 if isinstance(value, int) else 2 * value or 1.0
            yield ast.Constant(new)
        case ast.Name(id=name) | ast.Attribute(attr=name) if name in NAMES:
            yield changed(**{node._fields[0 if isinstance(node, ast.Name) else 1]: NAMES[name]})
        case ast.Call(keywords=[_, *_] as words):
            for dropped in (word for word in words if word.arg and word.arg not in UNTESTED):
                yield changed(keywords=[word for word in words if word is not dropped])
        case ast.IfExp(test=test):
            yield changed(test=ast.UnaryOp(ast.Not(), test))
        case (
            ast.Expr(value=ast.Call())
            | ast.Raise()
            | ast.Continue()
            | ast.Break()
            | ast.Assign(targets=[ast.Attribute() | ast.Subscript()])
        ):
            yield ast.Pass()
        case _:
            return


def parts(node: ast.AST) -> Iterator[Any]:
    """The nodes whose change a test could see: no annotations, decorators, formatted texts, or words of errors."""
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        return
    if isinstance(node, ast.keyword) and node.arg in UNTESTED:
        return
    yield node
    for field, value in [] if isinstance(node, ast.Raise | ast.JoinedStr) else ast.iter_fields(node):
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and field not in NO_CODE:
                yield from parts(child)


def drawn(files: Sequence[Path], count: int) -> list[dict[str, Any]]:
    """The first by their hash; a second of a line only when every line has one."""
    lines = collections.defaultdict[tuple[str, int], list[tuple[str, dict[str, Any], Any]]](list)
    for file in files:
        text, name = file.read_bytes(), file.relative_to(ROOT).as_posix()
        starts = [0, *(match.end() for match in re.finditer(b"\n", text))]
        for node in parts(ast.parse(text)):
            for order, new in enumerate(mutations(node)):
                start = starts[node.lineno - 1]
                begin, end = start + node.col_offset, starts[node.end_lineno - 1] + node.end_col_offset
                line, old = text[start:].split(b"\n", 1)[0], text[begin:end].decode()
                key = hashlib.sha256(repr((name, line, node.col_offset, old, order)).encode()).hexdigest()
                place = {"file": name, "line": node.lineno, "begin": begin, "end": end, "old": old}
                lines[name, node.lineno].append((key, place, new))
    ranked = [(rank, *one) for line in lines.values() for rank, one in enumerate(sorted(line, key=lambda one: one[0]))]
    chosen = sorted(ranked, key=lambda one: one[:2])[:count]
    texts = [(place, new, ast.unparse(ast.fix_missing_locations(new))) for *_, place, new in chosen]
    return [place | {"new": f"({text})" if isinstance(new, ast.expr) else text} for place, new, text in texts]


def tests_of(file: str) -> list[str]:
    """Test files of a module, three at most: of its name, then the shortest that import it, or else of its folder."""
    *folders, stem = Path(file.split("src/")[1]).with_suffix("").parts
    package = folders[0].removeprefix("latentedit").strip("_")
    mirror = "/".join(["tests", *filter(None, [package]), *folders[1:]])
    dotted = rf"\b{'.'.join(folders)}\.{stem}\b|from {'.'.join(folders)} import .*\b{stem}\b"
    tests = sorted(Path("tests").rglob("test_*.py"), key=lambda place: place.stat().st_size)
    mirrored = [place for place in tests if place.name == f"test_{stem}.py" and place.as_posix().startswith(mirror)]
    near = [place for place in tests if place not in mirrored and re.search(dotted, place.read_text("utf-8"))]
    beside = [place for place in tests if place.as_posix().startswith(mirror)]
    return [place.as_posix() for place in (mirrored + near or beside)[:3]]


def run(tests: Sequence[str], broken: Path, text: bytes) -> tuple[str, list[str]]:
    """What comes of a module with another text, in a fork of this process, and which tests failed."""
    child, end = os.fork(), time.monotonic() + WALL_S
    if child == 0:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
        log = os.open(LOG, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.environ["COLUMNS"] = "9999"  # no name of a test is cut
        real: Any = SourceFileLoader.get_code

        def get_code(self: Any, name: str) -> Any:
            return compile(text, self.path, "exec", dont_inherit=True) if self.path == str(broken) else real(self, name)

        SourceFileLoader.get_code = get_code
        words = ["-q", "-x", "--tb=no", "-p", "no:cacheprovider", "-m", "not nightly", "-o", "addopts="]
        os._exit(int(pytest.main([*words, *tests])))
    while not (done := os.waitpid(child, os.WNOHANG))[0]:
        if time.monotonic() > end:
            os.killpg(child, signal.SIGKILL)
        time.sleep(0.02)
    failed = re.findall(r"^FAILED (.*?)(?: - .*)?$", LOG.read_text("utf-8", "replace"), re.MULTILINE)
    status = os.waitstatus_to_exitcode(done[1])
    return {0: SURVIVED, 5: SURVIVED, 2: NO_IMPORT, 4: NO_IMPORT}.get(status, KILLED), failed


@functools.cache
def sound(test: str) -> bool:
    """Whether a test passes without any mutant."""
    return run([test], ROOT, b"")[0] != KILLED


def result_of(mutant: dict[str, Any]) -> str:
    """Of this run or of an earlier one."""
    finished = json.loads(FINISHED.read_text()) if FINISHED.exists() else {}
    tests, text = tests_of(mutant["file"]), Path(mutant["file"]).read_bytes()
    broken = text[: mutant["begin"]] + mutant["new"].encode() + text[mutant["end"] :]
    known = hashlib.sha256(broken + b"".join(Path(one).read_bytes() for one in tests)).hexdigest()
    if known not in finished:
        began = time.monotonic()
        result, failed = run(tests, ROOT / mutant["file"], broken) if tests else (SURVIVED, [])
        finished[known] = result if all(map(sound, failed)) else UNSOUND
        FINISHED.write_text(json.dumps(finished))
        told = f"{mutant['file']}:{mutant['line']}: {mutant['old']!r} -> {mutant['new']!r}"
        print(f"{time.monotonic() - began:.1f} s, {finished[known]}: {told}", flush=True)
    return finished[known]


def main() -> None:
    """Draw, run, compare."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--count", type=int, default=300)
    options.add_argument("--module", action="append", default=[], help="draw from this file; repeatable")
    options.add_argument("--update", action="store_true", help="store the rates")
    chosen = options.parse_args()
    os.chdir(ROOT)
    FINISHED.parent.mkdir(exist_ok=True)
    for name in HEAVY:
        importlib.import_module(name)
    sources = [*sorted(ROOT.glob("src/**/*.py")), *sorted(ROOT.glob("packages/*/src/**/*.py"))]
    files = [Path(one).resolve() for one in chosen.module] or [one for one in sources if "miniatures" not in one.parts]
    counts = collections.defaultdict[str, list[int]](lambda: [0, 0])
    for mutant in drawn(files, chosen.count):
        result, (package, *below) = result_of(mutant), mutant["file"].split("src/")[1].split("/")
        for name in ("all", f"{package}.{below[0]}" if below[1:] and package == "latentedit" else package):
            counts[name][0] += result == KILLED
            counts[name][1] += result in (KILLED, SURVIVED)
    rates = {name: {"mutants": mutants, "killed": killed} for name, (killed, mutants) in sorted(counts.items())}
    print("\n".join(f"{name:25} {one['killed']:4} of {one['mutants']:4}" for name, one in rates.items()))
    if chosen.update:
        STORED.write_text(json.dumps(rates, indent=1) + "\n")
    elif not chosen.module:
        stored = json.loads(STORED.read_text()) if STORED.exists() else {}
        pairs = {name: (one, stored[name]) for name, one in rates.items() if name in stored}
        lower = [n for n, (a, b) in pairs.items() if a["killed"] * b["mutants"] < b["killed"] * a["mutants"]]
        if lower:
            raise SystemExit(f"the kill rate fell in {', '.join(lower)}. Test what survived")


if __name__ == "__main__":
    main()
