"""Progress goes to a terminal or nowhere; JSON is always JSON."""

import dataclasses
import io
import json
import math
from pathlib import Path
from types import MappingProxyType

import pytest

from latentedit.cli.console import print_json, print_rows, progress_bar, warn


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_no_bar_where_stderr_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", io.StringIO())
    with progress_bar() as progress:
        assert progress is None


def test_a_bar_on_a_terminal_unless_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    with progress_bar(quiet=True) as progress:
        assert progress is None
    assert terminal.getvalue() == ""
    with progress_bar() as progress:
        assert progress is not None
        for done in range(5):
            progress("editing", done, 4)
    assert "editing" in terminal.getvalue()


def test_json_of_everything_a_result_holds(capsys: pytest.CaptureFixture[str]) -> None:
    @dataclasses.dataclass(frozen=True, slots=True)
    class Part:
        size: float
        names: tuple[str, ...]

    print_json({"part": Part(math.inf, ("a", "ü")), "map": MappingProxyType({"x": 1}), "path": Path("p"), "none": None})
    printed = capsys.readouterr().out
    assert json.loads(printed) == {
        "part": {"size": None, "names": ["a", "ü"]},
        "map": {"x": 1},
        "path": "p",
        "none": None,
    }
    assert printed.count("\n") == 1


def test_rows_are_aligned_and_warnings_are_one_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    print_rows([("a", "x"), ("caption", "y")])
    warn(["one\ntwo", "three"])
    printed = capsys.readouterr()
    assert printed.out == "  a           x\n  caption     y\n"
    assert printed.err == "warning: one two\nwarning: three\n"
