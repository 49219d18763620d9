"""The folder's metadata are what catalogues ask for."""

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from latentedit_bench.domains.base import scalable
from latentedit_bench.open_task.folder import card
from latentedit_bench.open_task.task import TaskSpec
from tests.bench.open_task.conftest import Entered


@pytest.fixture(scope="module")
def croissant(written: Entered) -> dict[str, Any]:
    return json.loads((written.folder / "croissant.json").read_text("utf-8"))


def referred(value: object) -> Iterator[str]:
    """Every ``{"@id": ...}`` that is nothing else, which refers to a node."""
    if isinstance(value, dict):
        if set(value) == {"@id"}:
            yield value["@id"]
        for one in value.values():
            yield from referred(one)
    elif isinstance(value, list):
        for one in value:
            yield from referred(one)


@pytest.mark.slow
def test_croissant_has_what_the_specification_requires(croissant: dict[str, Any], spec: TaskSpec) -> None:
    """Required of a data set, of files and sets of files, of record sets and fields, in version 1.0."""
    required = {"@context", "@type", "conformsTo", "description", "license", "name", "url", "creator", "datePublished"}
    assert required <= set(croissant)
    assert croissant["@type"] == "sc:Dataset"
    assert croissant["conformsTo"] == "http://mlcommons.org/croissant/1.0"
    assert croissant["version"] == spec.version
    file, files = croissant["distribution"]
    assert {"@type", "@id", "name", "contentUrl", "encodingFormat", "sha256"} <= set(file)
    assert {"@type", "@id", "name", "encodingFormat", "includes"} <= set(files)
    (records,) = croissant["recordSet"]
    assert all({"@type", "@id", "name", "dataType", "source"} <= set(field) for field in records["field"])


def test_croissant_describes_the_files_that_are_there(
    croissant: dict[str, Any], written: Entered, lines: list[dict[str, object]]
) -> None:
    nodes = [*croissant["distribution"], *croissant["recordSet"], *croissant["recordSet"][0]["field"]]
    assert set(referred({name: part for name, part in croissant.items() if name != "@context"})) <= {
        node["@id"] for node in nodes
    }
    file, files = croissant["distribution"]
    content = (written.folder / file["contentUrl"]).read_bytes()
    assert hashlib.sha256(content).hexdigest() == file["sha256"]
    assert len(list(written.folder.glob(files["includes"]))) == len(lines)
    described = {field["source"]["extract"]["column"]: field for field in croissant["recordSet"][0]["field"]}
    assert set(described) == set(lines[0])
    repeated = {name for name, field in described.items() if field.get("repeated")}
    assert repeated == {name for name, value in lines[0].items() if isinstance(value, list)}


def test_croissants_own_program_takes_it(written: Entered) -> None:
    mlcroissant = pytest.importorskip("mlcroissant")
    found = mlcroissant.Dataset(str(written.folder / "croissant.json"))
    assert not found.metadata.issues.errors
    assert not found.metadata.issues.warnings
    assert len(list(found.records("items"))) == len(written.items)


def test_the_hub_is_told_of_a_benchmark(written: Entered, spec: TaskSpec) -> None:
    """The keys that its page on evaluation results names, and a split that the card has too."""
    told = yaml.safe_load((written.folder / "eval.yaml").read_text("utf-8"))
    assert set(told) == {"name", "description", "evaluation_framework", "tasks"}
    (task,) = told["tasks"]
    head = yaml.safe_load((written.folder / "README.md").read_text("utf-8").split("---\n")[1])
    (config,) = head["configs"]
    assert (task["config"], task["split"]) == (config["config_name"], config["data_files"][0]["split"])
    assert (written.folder / config["data_files"][0]["path"]).is_file()
    assert head["license"] == "apache-2.0"
    assert task["id"] == f"open-portraits-{spec.size}"


@pytest.mark.parametrize(("items", "category"), [(999, "n<1K"), (1000, "1K<n<10K")])
def test_the_card_says_how_many(items: int, category: str) -> None:
    spec = TaskSpec.of("portraits", size=64, month=None, secret=None, items=items)
    head = yaml.safe_load(card(spec, scalable("portraits")).split("---\n")[1])
    assert head["size_categories"] == [category]


def test_the_card_says_who_knows_the_answers_and_whose_drawings_they_are(written: Entered) -> None:
    card = (written.folder / "README.md").read_text("utf-8")
    assert "Everybody: the seed is public." in card
    assert "python-avatars (MIT" in card
    assert "python-avatars (MIT" in (written.folder / "LICENSE").read_text("utf-8")
    assert "## 1.1.0" in (written.folder / "CHANGELOG.md").read_text("utf-8")
