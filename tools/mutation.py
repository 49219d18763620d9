"""Which bugs the tests see: random mutants of our sources, one at a time, each run against tests that execute its line.

    python tools/mutation.py                  300 mutants of all products
    python tools/mutation.py --seed 2         300 others
    python tools/mutation.py --count 60 --place src/latentedit/pixels
    python tools/mutation.py --quick          also which of the killed ones the tests of `make test` kill

A mutant is killed if a test fails or takes too long. Mutants are drawn by a hash, so unchanged code keeps its mutants;
every line is as likely, whatever its package, and gets a second mutant when all have one. The tests of `make test-all`
run once with coverage, later only changed ones, and what is finished is kept in out/ until the module or the tests
change. Each mutant runs in a fork of a process that has loaded the heavy libraries. Equivalent mutants are listed in
tools/mutation.json with the reason, and do not count; those of code that is gone are dropped. The goal is 80 %; no
rate may fall below the stored one by more than chance (a one-sided test at 5 %). --update stores this run's.
"""

import argparse
import ast
import collections
import copy
import hashlib
import importlib
import json
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any

import pytest
from coverage import CoverageData
from scipy import stats

ROOT = Path(__file__).resolve().parents[1]
STORED, FINISHED = Path("tools/mutation.json"), Path("out/mutation.json")
COVERAGE, MEASURED = Path("out/mutation.coverage"), Path("out/mutation-tests.json")
TESTS = ("tests", "research/tests")
SOURCES = ("src", "models/*/src", "comfyui", "research/*/src")
HEAVY = ("torch", "scipy.stats", "pandas", "PIL.Image", "pydantic", "typer", "hypothesis")
HEAVY += ("diffusers", "transformers", "peft")
CHANCE = 0.05
TESTS_S, CPU_S = 10, 60  # measured time of the tests of a mutant; limit of its process, and 4 times that in wall time
KILLED, SURVIVED, NO_IMPORT, UNSOUND = "killed", "survived", "cannot be imported", "its test fails without it too"

BOUNDS = {"Lt": "LtE", "LtE": "Lt", "Gt": "GtE", "GtE": "Gt"}
SWAPS = {"Lt": "GtE", "LtE": "Gt", "Gt": "LtE", "GtE": "Lt", "Eq": "NotEq", "NotEq": "Eq", "In": "NotIn", "NotIn": "In"}
SWAPS |= {"Is": "IsNot", "IsNot": "Is", "And": "Or", "Or": "And", "Add": "Sub", "Sub": "Add", "Mult": "Div"}
SWAPS |= {"Div": "Mult", "Pow": "Mult", "FloorDiv": "Mult", "Mod": "Mult", "MatMult": "Mult"}
NAMES = {"min": "max", "max": "min", "any": "all", "all": "any", "minimum": "maximum", "maximum": "minimum"}
UNTESTED = frozenset(("strict", "help", "label", "name", "title", "encoding", "stacklevel", "message", "device"))
UNTESTED |= {"description"}
NO_CODE = frozenset(("annotation", "returns", "decorator_list", "bases"))


def mutations(node: Any) -> Iterator[Any]:
    """Replacements of a node. Bounds of real numbers stay: few inputs lie on them."""

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


def package_of(file: str) -> str:
    """The package of the library that holds a file, or the other distribution."""
    if file.startswith("comfyui/"):
        return "comfyui"
    package, *below = file.split("src/")[1].split("/")
    return f"{package}.{below[0]}" if below[1:] and package == "latentedit" else package


def drawn(files: Sequence[Path], seed: int, count: int | None = None) -> list[dict[str, Any]]:
    """The first mutants by hash, one per line before a second one of any line; by default all."""
    lines = collections.defaultdict[tuple[str, int], list[tuple[str, dict[str, Any]]]](list)
    for file in files:
        text, name = file.read_bytes(), file.relative_to(ROOT).as_posix()
        starts = [0, *(match.end() for match in re.finditer(b"\n", text))]
        for node in parts(ast.parse(text)):
            for order, new in enumerate(mutations(node)):
                start = starts[node.lineno - 1]
                begin, end = start + node.col_offset, starts[node.end_lineno - 1] + node.end_col_offset
                line, old = text[start:].split(b"\n", 1)[0], text[begin:end].decode()
                key = hashlib.sha256(repr((seed, name, line, node.col_offset, old, order)).encode()).hexdigest()
                other = ast.unparse(ast.fix_missing_locations(new))
                other = f"({other})" if isinstance(new, ast.expr) else other
                broken = text[:begin] + other.encode() + text[end:]
                now = broken[start:].split(b"\n", 1)[0]
                change = f"{name}: {line.decode().strip()} => {now.decode().strip()}"
                mutant = {"file": name, "line": node.lineno, "broken": broken, "change": change}
                lines[name, node.lineno].append((key, mutant))
    ranked = [(rank, *one) for line in lines.values() for rank, one in enumerate(sorted(line, key=lambda one: one[0]))]
    return [mutant for *_, mutant in sorted(ranked, key=lambda one: one[:2])][:count]


def digest(tests: Iterable[str | Path]) -> str:
    """Hash of node ids of tests, and of the contents of their files."""
    names = sorted({str(test) for test in tests})
    files = sorted({name.split("::")[0] for name in names})
    return hashlib.sha256("\n".join(names).encode() + b"".join(Path(file).read_bytes() for file in files)).hexdigest()


def failures(log: str) -> list[str]:
    """Node ids of the tests that failed, from the output of pytest."""
    return re.findall(r"^(?:FAILED|ERROR) (.*?)(?: - .*)?$", log, re.MULTILINE)


def measured(sources: Sequence[Path]) -> dict[str, float]:
    """Return the seconds of each passing test of `make test-all`.

    Tests that changed since the last call are run, and the lines that they run are added to COVERAGE.
    """
    before = json.loads(MEASURED.read_text()) if MEASURED.exists() else {"files": {}, "seconds": {}}
    tests = [path for folder in TESTS for path in sorted(Path(folder).rglob("test_*.py"))]
    places = [*(path.relative_to(ROOT) for path in sources), *tests]
    files = {path.as_posix(): digest([path]) for path in places}
    changed = [name for name, content in files.items() if before["files"].get(name) != content]
    if not all(name.startswith(TESTS) for name in changed):
        COVERAGE.unlink(missing_ok=True)
        doctests = [path.relative_to(ROOT).as_posix() for folder in SOURCES for path in sorted(ROOT.glob(folder))]
        before["seconds"], changed = {}, [*TESTS, *doctests]
    kept = {test: s for test, s in before["seconds"].items() if test.split("::")[0] not in changed}
    seconds = collections.defaultdict[str, float](float, kept)
    if changed:
        words = [
            "--numprocesses=2",
            "--dist=worksteal",
            "-vv",
            "--tb=no",
            "-m",
            "not nightly",
            "--durations=0",
            "--cov-append",
            "--cov-report=",
        ]
        words += [
            f"--cov-config={os.devnull}",
            "--cov-context=test",
            "--cov=src",
            "--cov=models",
            "--cov=comfyui",
            "--cov=research",
        ]
        variables = os.environ | {"COVERAGE_FILE": str(COVERAGE), "COLUMNS": "9999"}
        command = [sys.executable, "-m", "pytest", *words, *changed]
        log = subprocess.run(command, env=variables, stdout=subprocess.PIPE, text=True, check=False).stdout
        for took, test in re.findall(r"^ *([\d.]+)s +(?:setup|call) +(.*)$", log, re.MULTILINE):
            seconds[test] += float(took)
        for test in failures(log):
            seconds.pop(test, None)
        if not seconds:
            sys.exit(f"no test has passed, so nothing can be measured:\n{log[-2000:]}")
        MEASURED.write_text(json.dumps({"files": files, "seconds": seconds}))
    return seconds


def quick_tests() -> set[str]:
    """Return the node ids of the tests of `make test`."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-m", "not nightly and not slow"]
    listing = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    return {line for line in listing.splitlines() if "::" in line}


def print_quick_kills(killed: Sequence[dict[str, Any]], lines: CoverageData, seconds: dict[str, float]) -> None:
    """Run the tests of `make test` alone against mutants that are killed, and print how many of these they kill."""
    quick_seconds = {test: seconds[test] for test in quick_tests() & seconds.keys()}
    kills = 0
    for mutant in killed:
        tests = tests_of(mutant, lines, quick_seconds)
        result = run(tests, ROOT / mutant["file"], mutant["broken"], "-x")[0] if tests else SURVIVED
        if result == KILLED:
            kills += 1
        else:
            print(f"survived the tests of make test: {mutant['change']}", flush=True)
    print(f"make test kills {kills} of {len(killed)} mutants that make test-all kills")


def tests_of(mutant: dict[str, Any], lines: CoverageData, seconds: dict[str, float]) -> list[str]:
    """Tests that run the line, then others of its module, since imports and caches run it in one test only.

    One test of each way through the module comes first, those of its package and fast ones before others.
    """
    found = sorted(lines.contexts_by_lineno(str(ROOT / mutant["file"])).items())
    contexts = {line: {one.rsplit("|")[0] for one in ones} & seconds.keys() for line, ones in found}
    ways = collections.defaultdict[str, list[int]](list)
    for line, tests in contexts.items():
        for test in tests:
            ways[test].append(line)
    at = max((line for line in contexts if line <= mutant["line"]), default=0)
    folder, left, chosen = package_of(mutant["file"]).split(".")[-1].removeprefix("latentedit_"), TESTS_S, list[str]()
    for tests in (contexts.get(at, set[str]()), ways.keys()):
        same, ranked = collections.Counter[tuple[int, ...]](), list[tuple[int, bool, float, str]]()
        for far, took, test in sorted((folder not in one.split("/"), seconds[one], one) for one in tests - set(chosen)):
            same[tuple(ways[test])] += 1
            ranked.append((same[tuple(ways[test])], far, took, test))
        chosen += [test for *_, test in sorted(ranked)]
    return [test for test in chosen if seconds[test] < left and (left := left - seconds[test])] or chosen[:1]


def run(tests: Sequence[str], broken: Path, text: bytes, *words: str, cpu_s: int = CPU_S) -> tuple[str, list[str]]:
    """Run tests against a module with another text in a fork; return the result and the tests that failed."""
    with tempfile.TemporaryFile() as log:
        child, end = os.fork(), time.monotonic() + 4 * cpu_s
        if child == 0:
            os.setsid()
            resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s))
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
            os.environ["COLUMNS"] = "9999"  # no name of a test is cut
            real: Any = SourceFileLoader.get_code

            def get_code(self: Any, name: str) -> Any:
                ours = self.path == str(broken)
                return compile(text, self.path, "exec", dont_inherit=True) if ours else real(self, name)

            SourceFileLoader.get_code = get_code
            # Rewriting of assertions would read the modules of doctests itself.
            words = ("-q", "--tb=no", "--assert=plain", "-p", "no:cacheprovider", *words)
            os._exit(int(pytest.main([*words, *tests])))
        while not (done := os.waitpid(child, os.WNOHANG))[0]:
            if time.monotonic() > end:
                os.killpg(child, signal.SIGKILL)
            time.sleep(0.02)
        log.seek(0)
        failed = failures(log.read().decode(errors="replace"))
    status = os.waitstatus_to_exitcode(done[1])
    return {0: SURVIVED, 5: SURVIVED, 2: NO_IMPORT, 4: NO_IMPORT}.get(status, KILLED), failed


def result_of(mutant: dict[str, Any], tests: Sequence[str], finished: dict[str, Any]) -> dict[str, str]:
    """The result, the test that failed and a hash of the tests; from an earlier run if these tests are unchanged."""
    known = hashlib.sha256(mutant["broken"]).hexdigest()
    one = finished.get(known, {"killer": "", "tests": ""})
    if one["tests"] != digest([one["killer"]] if Path(one["killer"].split("::")[0]).is_file() else tests):
        began = time.monotonic()
        result, failed = run(tests, ROOT / mutant["file"], mutant["broken"], "-x") if tests else (SURVIVED, [])
        one = {"result": result, "killer": "".join(failed[:1]), "tests": digest(failed[:1] or tests)}
        finished[known] = one
        FINISHED.write_text(json.dumps(finished))
        print(f"{time.monotonic() - began:.1f} s, {result}: {mutant['change']}", flush=True)
    return one


def main() -> None:
    """Draw, run, compare."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--count", type=int, default=300)
    options.add_argument("--seed", type=int, default=1, help="of the draw")
    options.add_argument("--place", action="append", default=[], help="draw from this file or folder; repeatable")
    options.add_argument("--update", action="store_true", help="store the rates")
    options.add_argument("--quick", action="store_true", help="also count the kills of the tests of make test")
    chosen = options.parse_args()
    os.chdir(ROOT)
    FINISHED.parent.mkdir(exist_ok=True)
    sources = [path for folder in SOURCES for path in sorted(ROOT.glob(f"{folder}/**/*.py"))]
    seconds, lines = measured(sources), CoverageData(str(COVERAGE))
    lines.read()
    stored = json.loads(STORED.read_text()) if STORED.exists() else {"equivalent": {}, "killed": {}}
    finished = json.loads(FINISHED.read_text()) if FINISHED.exists() else {}
    for name in HEAVY:
        importlib.import_module(name)
    places = [Path(one).resolve() for one in chosen.place] or [ROOT]
    files = [one for one in sources if one.stem != "miniature" and not {one, *one.parents}.isdisjoint(places)]
    possible = {one["change"] for one in drawn(sources, chosen.seed)}
    stored["equivalent"] = {change: why for change, why in stored["equivalent"].items() if change in possible}
    mutants = [one for one in drawn(files, chosen.seed, chosen.count) if one["change"] not in stored["equivalent"]]
    results = [(one, result_of(one, tests_of(one, lines, seconds), finished)) for one in mutants]
    killers = sorted({result["killer"] for _, result in results} - {""})
    unsound = run(killers, ROOT, b"", cpu_s=10 * CPU_S)[1] if killers else []
    if chosen.quick:
        killed = [one for one, result in results if result["result"] == KILLED and result["killer"] not in unsound]
        print_quick_kills(killed, lines, seconds)
    counts = collections.defaultdict[str, list[int]](lambda: [0, 0])
    for mutant, result in results:
        outcome = UNSOUND if result["killer"] in unsound else result["result"]
        if outcome != KILLED:
            print(f"{outcome}: {mutant['change']}")
        for name in ("all", package_of(mutant["file"])):
            counts[name][0] += outcome == KILLED
            counts[name][1] += outcome in (KILLED, SURVIVED)
    rates = {name: {"mutants": mutants, "killed": killed} for name, (killed, mutants) in sorted(counts.items())}
    print("\n".join(f"{name:25} {one['killed']:4} of {one['mutants']:4}" for name, one in rates.items()))
    name = " ".join((str(chosen.seed), *chosen.place))
    if chosen.update:
        tree = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True
        ).stdout
        made = {"date": time.strftime("%Y-%m-%d"), "after": tree.strip()}
        stored["killed"][name] = made | rates
        STORED.write_text(json.dumps(stored, indent=1, ensure_ascii=False) + "\n")
    elif before := stored["killed"].get(name):
        pairs = [(package, one, before[package]) for package, one in rates.items() if package in before]
        if low := [package for package, now, then in pairs if fewer(now, then) < CHANCE]:
            raise SystemExit(f"too few mutants are killed in {', '.join(low)}. Test what survived")


def fewer(now: dict[str, int], then: dict[str, int]) -> float:
    """The probability of so few killed mutants by chance, if the rate were the same (Fisher's exact test)."""
    table = [[one["killed"], one["mutants"] - one["killed"]] for one in (now, then)]
    return float(stats.fisher_exact(table, alternative="less").pvalue)


if __name__ == "__main__":
    main()
