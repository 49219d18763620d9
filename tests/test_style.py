"""House rules that no linter checks."""

from pathlib import Path

ROOT = Path(__file__).parent.parent
MODULES = sorted([*ROOT.glob("src/**/*.py"), *ROOT.glob("packages/*/src/**/*.py")])


def test_modules_are_named_after_an_idea() -> None:
    vague = {"utils", "helpers", "common", "misc"}
    assert [path for path in MODULES if vague & set(path.relative_to(ROOT).with_suffix("").parts)] == []


def test_postponed_annotations_are_not_used() -> None:
    postponed = "from __future__ import annotations"
    assert [path for path in MODULES if postponed in path.read_text(encoding="utf-8")] == []
