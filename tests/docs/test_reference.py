"""The generated pages of the reference are those of the commands and names as they are, and none is missing."""

import importlib

import pytest
from tools.claims import PAGE, page
from tools.copies import copied, copies
from tools.reference import AREAS, FOLDER, described, home, reference
from tools.running import ROOT

DOCUMENTED = {name for area in AREAS.values() for names in area["sections"].values() for name in names}


def test_pages_are_what_the_generator_writes() -> None:
    """Where this fails: python -m tools.reference."""
    assert [path for path, text in reference().items() if path.read_text(encoding="utf-8") != text] == []


def test_pages_of_the_root_are_copied_with_links_that_lead_somewhere() -> None:
    """Where this fails: python -m tools.copies."""
    assert [path for path, text in copies().items() if path.read_text(encoding="utf-8") != text] == []
    links = "[a](docs/models.md#b) [c](https://d.e) [f](Makefile)"
    assert copied(links, ROOT / "docs" / "development" / "x.md") == "[a](../models.md#b) [c](https://d.e) f"


@pytest.mark.nightly
def test_the_claims_are_those_of_the_results() -> None:
    """Where this fails: python -m tools.claims."""
    text = page()
    assert PAGE.read_text(encoding="utf-8") == text
    papers, _, ours = text.partition("\n## Derived here\n")
    assert "**The paper says:**" in papers
    ours, _, _ = ours.partition("\n## ")
    assert "**The claim:**" in ours
    assert "**The paper says:**" not in ours


@pytest.mark.parametrize("module", ["latentedit", "latentedit.api", "latentedit.directions", "latentedit.editors"])
def test_every_public_name_is_documented(module: str) -> None:
    homes = {home(name) for name in DOCUMENTED}
    public = importlib.import_module(module)
    names = [name for name in public.__all__ if not hasattr(getattr(public, name), "__path__")]
    assert [name for name in names if name != "errors" and home(f"{module}.{name}") not in homes] == []


def test_every_error_is_documented() -> None:
    errors = importlib.import_module("latentedit.core.errors")
    names = [
        name for name, value in vars(errors).items() if isinstance(value, type) and value.__module__ == errors.__name__
    ]
    assert [name for name in names if f"latentedit.core.errors.{name}" not in DOCUMENTED] == []


def test_a_command_that_loads_by_name_is_not_given_the_options_of_a_model() -> None:
    text = reference()[FOLDER / "commands.md"]
    for name in ("## analyze", "## reproduce", "### models calibrate"):
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
