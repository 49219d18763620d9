"""What to cite: every method and family has an entry, and the ids agree with what the methods' own pages name."""

import importlib.metadata
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from latentedit._version import __version__
from latentedit.api import citations
from latentedit.api.citations import OURSELVES, citable, cite, family_of, parse
from latentedit.core.errors import FileFormatError, RegistryError
from latentedit.core.plugins import BACKBONES, EDITORS
from latentedit.editors.registry import editor_class
from latentedit.latents.record import DirectionRecord
from tests.latents.test_record import example

ENTRIES, COMMENTS = parse(citations.BUILT_IN.read_text(encoding="utf-8"))
OURS = [name for name, point in EDITORS.points().items() if point.module.startswith("latentedit.")]
FAMILIES = sorted({point.module.rpartition(".")[2] for point in BACKBONES.points().values()})
ARXIV = re.compile(r"arXiv:? ?(\d{4}\.\d{5})")
EPRINT = re.compile(r"eprint = \{(.*?)\}")


THEIRS = Path()
"""The file that another package's entry point names; see `install`."""

Install = Callable[[str, str, str], None]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Install:
    """Add an entry point to those that are installed."""

    def add(name: str, value: str, kind: str) -> None:
        point = importlib.metadata.EntryPoint(name, value, f"latentedit.{kind}")
        real = importlib.metadata.entry_points

        def found(group: str) -> importlib.metadata.EntryPoints:
            return importlib.metadata.EntryPoints([*real(group=group), *([point] if group == point.group else [])])

        monkeypatch.setattr(importlib.metadata, "entry_points", found)

    return add


def found_by(method: str) -> DirectionRecord:
    return DirectionRecord(
        fingerprint="0" * 16, method=method, settings={}, strength=1.0, target_caption="", given=True
    )


def test_every_editor_and_every_family_is_cited_or_said_to_have_no_paper() -> None:
    """And the papers that an editor's own page names are known, its own among them."""
    uncited = {*OURS, *FAMILIES} - {name for entry in ENTRIES for name in entry.names} - {*COMMENTS}
    assert uncited == set()
    known = set(EPRINT.findall("".join(entry.bibtex for entry in ENTRIES)))
    for name in OURS:
        named = set(ARXIV.findall(editor_class(name).__doc__ or ""))
        own = set(EPRINT.findall("".join(entry.bibtex for entry in ENTRIES if name in entry.names)))
        assert named <= known, name
        assert not named or named & own, name


def test_entries_are_whole() -> None:
    assert len({entry.key for entry in ENTRIES}) == len(ENTRIES)
    for entry in ENTRIES:
        fields = dict(re.findall(r"^  (\w+) = \{(.*?)\},?$", entry.bibtex, re.DOTALL | re.MULTILINE))
        assert {"title", "author", "year"} <= fields.keys(), entry.key
        assert "keywords" not in fields
        assert set(entry.names) <= {*citable(), OURSELVES}
        assert entry.bibtex.count("{") == entry.bibtex.count("}")
        if "eprint" in fields:
            assert re.fullmatch(r"\d{4}\.\d{5}", fields["eprint"])
            assert fields["year"] == f"20{fields['eprint'][:2]}"
        else:
            assert entry.key == OURSELVES or "howpublished" in fields


def test_latentedit_comes_first_with_its_version_and_what_several_share_stands_once() -> None:
    found = cite(["flowslider", "flowedit"])
    assert [entry.key for entry in found.entries] == [OURSELVES, "kulikov2024flowedit", "endo2026flowslider"]
    assert f"version = {{{__version__}}}" in found.entries[0].bibtex
    assert found.notes == ()
    assert [entry.key for entry in cite().entries] == [OURSELVES]


def test_a_record_names_its_methods_those_before_it_and_the_family_of_a_bundled_model() -> None:
    first = example(method="turboedit", directions=(found_by("transport"),))
    found = {entry.key for entry in cite(records=[example(before=first)]).entries}
    assert {"shuai2024latent", "deutch2024turboedit", "park2023understanding", "esser2024scaling"} <= found
    assert family_of("portraits-unet") == "sd"


def test_a_package_brings_its_own(install: Install, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "papers.bib"
    file.write_text("@misc{me2026, title={Mine, {all} of it}, keywords={mine, more}, year={2026}}\n@comment{rest: no.}")
    monkeypatch.setattr("tests.api.test_citations.THEIRS", file)
    install("theirs", "tests.api.test_citations:THEIRS", "citations")
    assert {"mine", "more", "rest", "flowedit"} <= set(citable())
    assert cite(["mine"]).entries[-1].bibtex == "@misc{me2026, title={Mine, {all} of it}, year={2026}}"
    assert cite(["rest"]).notes == ("rest: no.",)
    install("bare", "nowhere:Bare", "editors")
    assert cite(["bare"]).notes == ("bare: its package names no paper.",)


def test_names_that_nothing_has_and_entries_that_do_not_end_are_refused() -> None:
    with pytest.raises(RegistryError, match=r"is called 'flowedti': did you mean 'flowedit'"):
        cite(["flowedti"])
    with pytest.raises(FileFormatError, match=r"the entry in line 2 of a.bib has no closing brace"):
        parse("text\n@misc{key, title={never}", "a.bib")
