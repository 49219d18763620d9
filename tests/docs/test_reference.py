"""The generated pages of the reference are those of the commands and names as they are, and none is missing."""

import importlib
import re

import pytest
from tools.reference import DOCS, described, reference

DOCUMENTED = {
    heading: defined
    for page in sorted(DOCS.glob("reference/python/*.md"))
    for defined, heading in re.findall(
        r"^::: (\S+)\n    options:\n      heading: (\S+)$", page.read_text(encoding="utf-8"), re.MULTILINE
    )
}
"""Public names on the pages, and where each is said to be defined: mkdocstrings follows no lazy imports."""


def home(name: str) -> str:
    """Where a public name is defined."""
    module, _, attribute = name.rpartition(".")
    return f"{getattr(importlib.import_module(module), attribute).__module__}.{attribute}"


def test_pages_are_what_the_generator_writes() -> None:
    """Where this fails: python -m tools.reference."""
    assert [path for path, text in reference().items() if path.read_text(encoding="utf-8") != text] == []


def test_names_on_the_pages_are_read_where_they_are_defined() -> None:
    assert {name: defined for name, defined in DOCUMENTED.items() if home(name) != defined} == {}


@pytest.mark.parametrize("module", ["latentedit", "latentedit.api", "latentedit.directions", "latentedit.editors"])
def test_every_public_name_is_documented(module: str) -> None:
    public = importlib.import_module(module)
    names = [name for name in public.__all__ if not hasattr(getattr(public, name), "__path__")]
    assert [name for name in names if name != "errors" and home(f"{module}.{name}") not in DOCUMENTED.values()] == []


def test_every_error_is_documented() -> None:
    errors = importlib.import_module("latentedit.core.errors")
    names = [
        name for name, value in vars(errors).items() if isinstance(value, type) and value.__module__ == errors.__name__
    ]
    assert [name for name in names if f"latentedit.core.errors.{name}" not in DOCUMENTED] == []


def test_a_command_that_loads_by_name_is_not_given_the_options_of_a_model() -> None:
    text = reference()[DOCS / "reference" / "commands.md"]
    for name in ("## reproduce", "### models calibrate"):
        section = text.partition(f"\n{name}\n")[2].partition("\n#")[0]
        assert "| `--device` TEXT |" in section
        assert "options of the model" not in section
    assert "(#options-of-the-model)" in text.partition("\n## edit\n")[2].partition("\n## ")[0]


def test_a_docstring_is_its_paragraphs_and_its_examples() -> None:
    text = "Edit it.\n\nExamples:\n    latentedit edit a.png\n    latentedit undo b.png\n\nCodes:\n    0 done\n"
    assert described(text) == (
        "Edit it.\n\nCodes:\n\n* 0 done",
        ["latentedit edit a.png", "latentedit undo b.png"],
    )
