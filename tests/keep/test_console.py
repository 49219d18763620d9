"""Output on the console: progress, JSON, and escaped control characters."""

import contextlib
import dataclasses
import io
import json
import math
from pathlib import Path
from types import MappingProxyType

import pytest

from latentedit.core.console import complain, echo, escaped, print_json, print_rows, progress_bar, warn, with_options


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_drawn_on_a_terminal_unless_quiet() -> None:
    terminal = Terminal()
    for given, quiet in ((True, True), (print, True), (False, False), (None, False)):
        with contextlib.redirect_stderr(terminal), progress_bar(given, quiet=quiet) as progress:
            assert progress is None
    with progress_bar(print) as progress:
        assert progress is print
    assert terminal.getvalue() == ""
    with contextlib.redirect_stderr(terminal), progress_bar() as progress:
        assert progress is not None
        for done in range(5):
            progress("editing", done, 4)
    assert "editing" in terminal.getvalue()


def test_progress_is_a_line_every_30_seconds_and_at_the_end_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    stream, clock = io.StringIO(), iter([0, 10, 31, 31, 40, 45, 50, 50])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    with contextlib.redirect_stderr(stream), progress_bar() as progress:
        assert progress is not None
        for done in range(5):
            progress("editing", done, 4)
    assert [line.split()[-2] for line in stream.getvalue().splitlines()] == ["25", "100"]


def test_json_output_of_every_type_in_a_result(capsys: pytest.CaptureFixture[str]) -> None:
    @dataclasses.dataclass(frozen=True, slots=True)
    class Part:
        size: float
        names: tuple[str, ...]

    print_json({"part": Part(math.inf, ("a", "ü")), "map": MappingProxyType({"x": 1}), "path": Path("p"), "none": None})
    (printed,) = capsys.readouterr().out.splitlines()
    part = {"size": None, "names": ["a", "ü"]}
    assert json.loads(printed) == {"part": part, "map": {"x": 1}, "path": "p", "none": None}


HOSTILE = "\x1b]0;pwned\x07 \x9b31m\x7f \u202e\u2066 ne\nw\r \u2028\udcff"
SHOWN = r"\x1b]0;pwned\x07 \x9b31m\x7f \u202e\u2066 ne\nw\r \u2028\udcff"


def test_printed_control_characters_are_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    assert escaped(HOSTILE) == SHOWN
    plain = "a caf\u00e9, \u65e5\u672c, \U0001f469\u200d\U0001f52c, \\ and \u0639\u0631"
    assert escaped(plain) == plain
    echo(f"me.png -> {HOSTILE}")
    print_rows([("target", HOSTILE)])
    print_rows([(HOSTILE, "x")])
    print_json({HOSTILE: "\u00e9"})
    warn([HOSTILE])
    complain(HOSTILE)
    printed = capsys.readouterr()
    *rows, report = printed.out.splitlines()
    assert rows == [f"me.png -> {SHOWN}", f"  target      {SHOWN}", f"  {SHOWN} x"]
    assert json.loads(report) == {HOSTILE: "\u00e9"}
    assert escaped(report) == report
    assert "\u00e9" in report
    one_line = SHOWN.replace(r"\n", " ").replace(r"\r \u2028", " ")  # messages may have paragraphs
    assert printed.err.splitlines() == [f"warning: {one_line}", one_line]


@pytest.mark.parametrize(
    ("text", "report"),
    [
        ("`strength` must be finite", "--strength must be finite"),
        ("say it with `source_prompt`, or `captioner`", "say it with --source-prompt, or --captioner"),
        ('use `method="eim"` or `source_prompt="a hat"`', 'use --method eim or --source-prompt "a hat"'),
        ('give `change="=> glasses"`', 'give --change "=> glasses"'),
        ("`force=True`, `auto_mask=False`, `directions`", "--force, --no-auto-mask, --direction"),
        ('set `arm` or `combine="sum"`', "set --set arm or --set combine=sum"),
        ("see `latentedit discover`, a `Session`", "see `latentedit discover`, a `Session`"),
    ],
)
def test_parameters_become_options(text: str, report: str) -> None:
    assert with_options(text) == report
