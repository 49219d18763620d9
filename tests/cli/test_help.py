"""Help pages: every command shows what it does and examples that the parser takes, in terminals of any width."""

import contextlib
import io
import itertools
import shlex
from collections.abc import Iterator
from typing import Any

import pytest

from latentedit.cli import main
from latentedit.cli.help_pages import EXAMPLES
from latentedit.core.plugins import COMMANDS, EDITORS, EXPERIMENTS, MODELS


def commands(command: Any, names: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """A command and all below it, by the words that are typed."""
    yield names, command
    for name, below in getattr(command, "commands", {}).items():
        yield from commands(below, (*names, name))


PAGES = {
    "latentedit": main.help_page(str(main.app.info.help)),
    **{
        " ".join(("latentedit", *names)): command.help
        for top in COMMANDS.names()
        for names, command in commands(main.load_command(top), (top,))
    },
}


def section(page: str, title: str) -> list[str]:
    """Lines of a section of a help page."""
    found = page.replace("\b", "").split("\n\n")
    return [line.strip() for part in found if part.startswith(title) for line in part.splitlines()[1:]]


def parsed(words: list[str]) -> dict[str, Any]:
    """What the parser makes of a command line, which is not run; variables of the environment may stand before it."""
    program, *rest = itertools.dropwhile(lambda word: word.partition("=")[0].isupper(), words)
    assert program == "latentedit"
    if rest[0] not in COMMANDS.names():
        return {}
    command, name = main.load_command(rest[0]), rest.pop(0)
    while hasattr(command, "commands"):
        name = rest.pop(0)
        command = command.commands[name]
    if "--help" in rest:
        return {}
    return command.make_context(name, rest, obj={}).params


def unknown(given: dict[str, Any]) -> list[str]:
    """Names in a command line that nothing installed has; a hub id or folder counts as known."""
    known = {
        "method": [*EDITORS.names(), "all", "lerp", "slerp", "geodesic"],
        "model": MODELS.names(),
        "claims": EXPERIMENTS.names(),
    }
    named = {option: given.get(option) or () for option in known}
    listed = {option: [value] if isinstance(value, str) else value for option, value in named.items()}
    return [one for option, values in listed.items() for one in values if one not in known[option] and "/" not in one]


@pytest.mark.parametrize("name", PAGES)
def test_examples_are_command_lines_that_the_parser_takes(name: str) -> None:
    lines = section(PAGES[name], EXAMPLES)
    assert 2 <= len(lines) <= 5
    assert sum(f"{line} ".startswith(f"{name} ") for line in lines) >= 2
    for line in lines:
        assert unknown(parsed(shlex.split(line))) == []


@pytest.mark.parametrize(("name", "columns"), [*((name, 80) for name in PAGES), ("latentedit edit", 120)])
def test_examples_stand_line_by_line(name: str, columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    _, *words = name.split()
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        assert main.run([*words, "--help"]) == 0
    lines = [line.rstrip() for line in printed.getvalue().splitlines()]
    wanted = [f"   {line}" for line in section(PAGES[name], EXAMPLES)]
    start = lines.index(f" {EXAMPLES}") + 1
    assert lines[start : start + len(wanted)] == wanted
    assert not any("\b" in line for line in lines)
