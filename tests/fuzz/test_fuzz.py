"""A short fuzzing of every kind of input, always the same, and whatever a longer one found (see `make fuzz`)."""

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.campaign import CORPUS, TARGETS, file_stem
from tests.fuzz.judge import FaultError, Target, judged, told

pytestmark = pytest.mark.slow

SLOW = {"model folders, loaded": 0, "run folders": 0, "endpoint answers": 3, "environments": 3}
"""Inputs of the kinds that take long; the others have 6."""


@pytest.mark.parametrize("name", [name for name in TARGETS if SLOW.get(name, 1)])
def test_nothing_that_comes_in_breaks_the_program(name: str) -> None:
    @settings(
        max_examples=SLOW.get(name, 6),
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(value=TARGETS[name].inputs)
    def look(value: Any) -> None:
        judged(TARGETS[name], value)

    look()


@pytest.mark.parametrize("file", sorted(CORPUS.glob("*.txt")), ids=lambda file: file.stem)
def test_what_was_found_once_is_found_no_more(file: Path) -> None:
    name = file.name.partition(".")[0]
    (target,) = [one for one in TARGETS.values() if file_stem(one.name) == name]
    judged(target, ast.literal_eval(file.read_text("utf-8")))


def act_of(line: str) -> Callable[[object, Path], None]:
    def act(value: object, folder: Path) -> None:
        exec(line, {"folder": folder, "told": told})

    return act


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("1 / 0", "ZeroDivisionError"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("while True: pass", "TimeoutError: it takes more than 1 s"),
        ("bytearray(10**10)", "MemoryError"),
        ("(folder / '.0.tmp').touch()", "half a file was left: .0.tmp"),
        ("check_printed(0, '\\x1b[31m', '')", r"the raw character '\\x1b' was printed"),
        ("check_printed(70, '', '')", "the exit code 70"),
        ("check_printed(2, '', 'one\\ntwo\\n')", "wrong input is no error with a hint"),
    ],
)
def test_a_fault_is_noticed(monkeypatch: pytest.MonkeyPatch, line: str, said: str) -> None:
    monkeypatch.setattr("tests.fuzz.judge.LIMIT_S", 1)
    line = f"from tests.fuzz.judge import check_printed\n{line}"
    with pytest.raises(FaultError, match=said):
        judged(Target(name="this", inputs=st.none(), act=act_of(line)), None)
    assert judged(Target(name="this", inputs=st.none(), act=act_of("pass")), None)


def test_what_is_refused_was_not_taken() -> None:
    assert not judged(Target(name="this", inputs=st.none(), act=lambda *_: told("edti") and None), None)
