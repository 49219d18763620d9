"""House rules that no linter checks: small modules and functions, telling names, tests that mirror the package."""

import ast
from pathlib import Path

import pytest

import latentedit

PACKAGE = Path(latentedit.__file__).parent
TESTS = Path(__file__).parent
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if "models" not in path.relative_to(PACKAGE).parts[:-1])


def name_of(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_modules_and_functions_are_small(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 300
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            assert node.end_lineno - node.lineno + 1 <= 60, node.name


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_modules_are_named_after_an_idea(path: Path) -> None:
    assert not {"utils", "helpers", "common", "misc"} & set(path.relative_to(PACKAGE).with_suffix("").parts)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_postponed_annotations_are_not_used(path: Path) -> None:
    assert "from __future__ import annotations" not in path.read_text(encoding="utf-8")


def test_every_module_has_its_tests() -> None:
    inside = [path.relative_to(PACKAGE) for path in MODULES if path.name != "__init__.py"]
    missing = [str(path) for path in inside if not (TESTS / path.parent / f"test_{path.name}").is_file()]
    assert missing == []
