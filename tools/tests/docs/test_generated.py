"""Generated pages and tables are up to date, and the reference documents every public name."""

import dataclasses
import importlib
import inspect
import json
import re
from pathlib import Path

import pytest

from latentedit.core.errors import ConfigError
from latentedit.core.files import plain
from latentedit.core.plugins import EDITORS
from latentedit.editors.base import editor_class
from latentedit_bench.experiments.experiment import make_experiment
from latentedit_bench.experiments.run import read_records
from tests.test_package import PUBLIC
from tools import marked_numbers, reference
from tools.reference import DOCS, described

DOCUMENTED = {  # public names and what the pages document: the name itself, or its definition in another package
    heading or defined: defined
    for page in sorted(DOCS.glob("reference/python/*.md"))
    for defined, heading in re.findall(
        r"^::: (\S+)$(?:\n    options:\n      heading: (\S+)$)?", page.read_text(encoding="utf-8"), re.MULTILINE
    )
}


def changed(pages: dict[Path, str]) -> list[Path]:
    return [place for place, text in pages.items() if place.read_text(encoding="utf-8") != text]


def test_generated_pages_are_up_to_date() -> None:
    """Where this fails: make docs-text."""
    assert changed(reference.reference()) == []
    numbers = {page: page.read_text(encoding="utf-8") for page in marked_numbers.pages()}
    assert changed({page: marked_numbers.filled(text, marked_numbers.RESULTS) for page, text in numbers.items()}) == []


@pytest.mark.nightly
def test_generated_results_and_methods_are_up_to_date() -> None:
    """Where this fails: make docs-text."""
    assert changed(reference.results()) == []


@pytest.mark.slow
def test_experiments_with_another_plan_or_other_weights_are_outdated(monkeypatch: pytest.MonkeyPatch) -> None:
    records = read_records(reference.STORED)
    same = [dataclasses.replace(one, weights={}, plan=plain(make_experiment(one.name).plan)) for one in records]
    monkeypatch.setattr(reference, "read_records", lambda _: same)
    assert reference.outdated() == []
    same[0] = dataclasses.replace(same[0], plan={**same[0].plan, "seed": 1})
    assert reference.outdated() == [same[0].name]
    by_weights = {tuple(one.weights): one for one in records if one.weights}
    for record in by_weights.values():
        current = make_experiment(record.name).weights()
        trained = {name: f"{fingerprint}, trained further" for name, fingerprint in current.items()}
        one = dataclasses.replace(record, plan=plain(make_experiment(record.name).plan), weights=current)
        same[:] = [one, dataclasses.replace(one, weights=trained)]
        assert reference.outdated() == [record.name]


def test_numbers_rows_and_ratios_are_filled_in(tmp_path: Path) -> None:
    runs = [{"steps": 90, "seconds": 2, "fits": True, "gain": {"mean": 1, "low": 0.5, "high": 2}}, {"steps": 0}]
    (tmp_path / "a.json").write_text(json.dumps({"runs": runs}))
    (tmp_path / "b.csv").write_text("method,measure,mean,low,high\ncodec alone,error,0.25,,\nflowedit,error,4,3,5")
    page = """* <!--a.json runs/0/gain ; .1f dB interval-->?<!--/-->
* <!--a.json runs/0/steps over runs/0/seconds ; .0f--><!--/-->
* <!--b.csv codec alone/error ; .3f-->1<!--/-->

<!--table a.json runs | {key} | {steps} | {fits} | {gain:.2f}-->
| a | table | with | head |
| --- | --- | --- | --- |
<!--/table-->"""
    report = (
        page.replace("-->?<", "-->1.0 dB [0.5, 2.0]<").replace(".0f--><", ".0f-->45<").replace("-->1<", "-->0.250<")
    )
    report = report.replace("<!--/table", "| 0 | 90 | holds | 1.00 |\n| 1 | 0 | | |\n<!--/table")
    assert marked_numbers.filled(page, tmp_path) == report
    broken = "* in a list\n  <!--a.json runs/0/steps ; d-->1<!--/-->, which a comment at the start of a line would end"
    assert marked_numbers.filled(broken, tmp_path) == broken.replace("\n ", "").replace("->1<", "->90<")
    for mark in ("nothing.json ; d-->1<!--/-->", "table nothing-->\n| a |\n| --- |\n<!--/table-->"):
        with pytest.raises(ConfigError, match="nothing"):
            marked_numbers.filled(f"<!--{mark}", tmp_path)


def test_a_text_is_the_same_on_every_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"error": {"mean": 0.5, "low": 0.25, "high": 1}}))
    monkeypatch.setattr(
        marked_numbers, "TABLES", {"level": 'Level:\n{{ read("a.json", "error") | formatted(".2f interval") }}\ntimes.'}
    )
    pages = [
        f"{start}<!--text level-->{old}<!--/text--> More." for start, old in (("", ""), ("* ", "Ahead: 0.1\ntimes."))
    ]
    text = "<!--text level-->Level: 0.50 [0.25, 1.00] times.<!--/text--> More."
    assert [marked_numbers.filled(page, tmp_path) for page in pages] == [text, f"* {text}"]


def public(address: str) -> object:
    module, _, name = address.rpartition(".")
    return getattr(importlib.import_module(module), name)


def test_every_public_name_is_documented_where_it_is_defined() -> None:
    """And under its address in a public module."""
    assert [name for name, defined in DOCUMENTED.items() if public(name) is not public(defined)] == []
    names = [f"{door}.{name}" for door in PUBLIC for name in importlib.import_module(door).__all__]
    assert {*names} - {*PUBLIC} - DOCUMENTED.keys() == set()
    errors = [one for one in vars(importlib.import_module("latentedit.core.errors")).values() if isinstance(one, type)]
    raised = {one for one in errors if issubclass(one, Exception)}
    assert raised <= {one for one in map(public, DOCUMENTED) if isinstance(one, type)}


def test_every_editor_names_its_paper() -> None:
    """In its docstring or as the keyword of an entry; a comment of the bibliography says where there is none."""
    named = re.findall(r"[\w-]+", (DOCS / "citations.bib").read_text(encoding="utf-8"))
    assert [name for name in EDITORS.names() if not reference.papers_of(editor_class(name)) and name not in named] == []


def test_an_editor_is_registered_by_its_class() -> None:
    project = reference.PROJECT.read_text(encoding="utf-8")
    assert reference.registered(project) == project
    line = next(line for line in project.splitlines(keepends=True) if line.startswith("sdedit = "))
    again = reference.registered(project.replace(line, ""))
    assert sorted(again.splitlines()) == sorted(project.splitlines())
    assert again.index(line) < again.index("[tool.uv]")


def test_every_method_on_a_page_has_a_line_of_its_own_or_of_a_base() -> None:
    """The site leaves out methods without a docstring, and ruff asks for none."""
    silent: list[str] = []
    for name in DOCUMENTED.values():
        module, _, attribute = name.rpartition(".")
        documented = getattr(importlib.import_module(module), attribute)
        own = vars(documented) if isinstance(documented, type) else {}
        methods = [one for one, value in own.items() if callable(value) or isinstance(value, (property, classmethod))]
        found = [one for one in methods if not one.startswith("_") and one not in ("Config", "array_type")]
        silent += [f"{name}.{one}" for one in found if not inspect.getdoc(getattr(documented, one))]
    assert silent == []


def test_a_docstring_is_split_into_paragraphs_and_examples() -> None:
    text = "Edit it.\n\nExamples:\n    latentedit edit a.png\n    latentedit undo b.png\n\nCodes:\n    0 done\n"
    examples = ["latentedit edit a.png", "latentedit undo b.png"]
    assert described(text) == ("Edit it.\n\nCodes:\n\n* 0 done", examples)
