"""A short deterministic fuzzing of every kind of input, and the findings of longer ones (see `make fuzz`)."""

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tools.tests.fuzz.campaign import CORPUS, TARGETS, file_stem
from tools.tests.fuzz.judge import FaultError, Target, check_printed, judged, run_command


@pytest.mark.nightly
@pytest.mark.parametrize("name", [name for name in TARGETS if name != "run folders"])
def test_no_input_breaks_the_program(name: str) -> None:
    @settings(
        max_examples=6,
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
def test_inputs_of_the_corpus_are_fixed(file: Path) -> None:
    name = file.name.partition(".")[0]
    (target,) = [one for one in TARGETS.values() if file_stem(one.name) == name]
    judged(target, ast.literal_eval(file.read_text("utf-8")))


def crash(_: object, folder: Path) -> None:
    raise ZeroDivisionError


def hang(_: object, folder: Path) -> None:
    while True:
        pass


@pytest.mark.slow_cases("hang-more than 1 s")
@pytest.mark.parametrize(
    ("act", "fault"),
    [
        (crash, "ZeroDivisionError"),
        (hang, "more than 1 s"),
        (lambda *_: bytearray(10**10), "MemoryError"),
        (lambda _, folder: (folder / ".0.tmp").touch(), r"\.0\.tmp"),
        (lambda *_: check_printed(0, "\x1b[31m", ""), "raw character"),
        (lambda *_: check_printed(70, "", ""), "70"),
        (lambda *_: check_printed(2, "", "one\ntwo\n"), "no error"),
    ],
)
def test_faults_are_detected(monkeypatch: pytest.MonkeyPatch, act: Callable[[Any, Path], None], fault: str) -> None:
    monkeypatch.setattr("tools.tests.fuzz.judge.LIMIT_S", 1)
    with pytest.raises(FaultError, match=fault):
        judged(Target(name="this", inputs=st.none(), act=act), None)


def test_rejected_input_is_not_a_fault() -> None:
    def act(*_: Any) -> None:
        run_command("edti")

    assert not judged(Target(name="this", inputs=st.none(), act=act), None)
    assert judged(Target(name="this", inputs=st.none(), act=lambda *_: None), None)
