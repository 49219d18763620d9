"""Help pages: every command has examples that the parser accepts."""

import itertools
import shlex
from collections.abc import Iterator
from typing import Any

import pytest

from latentedit.cli.commands import COMMANDS
from latentedit.cli.program import EXAMPLES, app, help_page, prepared
from latentedit.core.plugins import EDITORS, EXPERIMENTS, MODELS

WIDTH = 76  # longest example that no terminal breaks
NAMES = {  # values of options in examples that must be installed, unless they contain a slash (a hub id or a folder)
    "method": {*EDITORS.names(), "all", "lerp", "slerp", "geodesic", "pca"},
    "model": set(MODELS.names()),
    "claims": set(EXPERIMENTS.names()),
}


def commands(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    """A command and its subcommands, with their full names."""
    yield name, command
    for below, one in getattr(command, "commands", {}).items():
        yield from commands(f"{name} {below}", one)


COMMAND = dict(
    found for top in COMMANDS.names() for found in commands(f"latentedit {top}", prepared(top, COMMANDS.load(top)))
)
PAGES = {"latentedit": help_page(str(app.info.help))} | {name: one.help for name, one in COMMAND.items()}


def example_lines(page: str) -> list[str]:
    sections = [part.splitlines() for part in page.replace("\b", "").split("\n\n") if part.startswith(EXAMPLES)]
    return [line.strip() for lines in sections for line in lines[1:]]


def parsed(words: list[str]) -> dict[str, Any]:
    """The parameters of a command line, which may begin with environment variables and is not run."""
    words = list(itertools.dropwhile(lambda word: word.partition("=")[0].isupper(), words))
    name = next((name for n in (3, 2) if (name := " ".join(words[:n])) in COMMAND), None)
    if name is None or "--help" in words:
        assert words[0] == "latentedit"
        return {}
    rest = words[len(name.split()) :]
    return COMMAND[name].make_context(name, rest, obj={}).params


def test_a_default_that_a_description_states_is_not_printed_again() -> None:
    options: list[Any] = [one for command in COMMAND.values() for one in command.params]
    stated = [one for one in options if one.default and "Default: " in (one.help or "")]
    assert "--image-guidance" in [one.opts[0] for one in stated]
    assert [one.opts[0] for one in stated if one.show_default] == []


@pytest.mark.parametrize("name", PAGES)
def test_examples_are_accepted_by_the_parser(name: str) -> None:
    lines = example_lines(PAGES[name])
    assert 2 <= len(lines) <= 5
    assert sum(f"{line} ".startswith(f"{name} ") for line in lines) >= 2
    for line in lines:
        assert len(line) <= WIDTH
        given = parsed(shlex.split(line))
        for option, installed in NAMES.items():
            value = given.get(option) or ()
            used = [value] if isinstance(value, str) else value
            assert {one for one in used if "/" not in one} <= installed
