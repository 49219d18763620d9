"""House rules that no linter checks."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from latentedit_keep.console import PARAMETER, with_options

ROOT = Path(__file__).parent.parent
MODULES = sorted([*ROOT.glob("src/**/*.py"), *ROOT.glob("packages/*/src/**/*.py")])


def test_modules_are_named_after_an_idea() -> None:
    vague = {"utils", "helpers", "common", "misc"}
    assert [path for path in MODULES if vague & set(path.relative_to(ROOT).with_suffix("").parts)] == []


def test_postponed_annotations_are_not_used() -> None:
    postponed = "from __future__ import annotations"
    assert [path for path in MODULES if postponed in path.read_text(encoding="utf-8")] == []


def texts(path: Path) -> Iterator[str]:
    """The strings of a module, without its docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    told = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in told:
            yield node.value


@pytest.mark.nightly
def test_messages_name_parameters_in_the_library_and_options_in_commands() -> None:
    """`cli.console.with_options` makes the one of the other, so each parameter that is named is one of an option."""
    library, commands = ([path for path in MODULES if ("cli" in path.parts) is cli] for cli in (False, True))
    options = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
    known = {option for path in commands for text in texts(path) for option in options.findall(text)}
    known |= {f"--no-{option[2:]}" for option in known}
    for path in [path for path in library if "testing" not in path.parts]:  # that speaks to those who write tests
        for text in texts(path):
            assert not set(options.findall(text)) - {"--head"}, path  # of `ray start`
            for named in PARAMETER.finditer(text):
                assert with_options(named[0]).split()[0] in known, (path, named[0])
