"""The files that a repository shows to people who join: they parse, and what they name is there."""

import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

import latentedit

ROOT = Path(__file__).parent.parent
GITHUB = ROOT / ".github"
PROSE = ["CITATION.cff", "CODE_OF_CONDUCT.md", "SECURITY.md", *(str(one) for one in GITHUB.rglob("*.*"))]


def read(path: str | Path) -> Any:
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


def workflow(name: str) -> dict[Any, Any]:
    return read(GITHUB / "workflows" / f"{name}.yml")


STEPS = [step for name in ("test", "newest") for job in workflow(name)["jobs"].values() for step in job["steps"]]


def test_the_citation_has_what_version_1_2_0_of_the_format_asks_for() -> None:
    """Required keys, and of the others those that are used, by their types in the format's schema."""
    found = read("CITATION.cff")
    types = {"abstract": str, "authors": list, "cff-version": str, "keywords": list, "license": str, "message": str}
    types |= {"title": str, "type": str, "version": str}
    assert {key: type(value) for key, value in found.items()} == types
    assert (found["cff-version"], found["type"], found["license"]) == ("1.2.0", "software", "Apache-2.0")
    assert found["version"] == latentedit.__version__
    assert found["authors"] == [{"name": "The latentedit maintainers"}]
    assert all(isinstance(word, str) for word in found["keywords"])


@pytest.mark.parametrize("name", ["bug", "feature"])
def test_forms_of_issues_have_what_github_asks_for(name: str) -> None:
    form = read(GITHUB / "ISSUE_TEMPLATE" / f"{name}.yml")
    assert {"name", "description", "body"} <= form.keys()
    asked = [one for one in form["body"] if one["type"] != "markdown"]
    assert {one["type"] for one in asked} == {"textarea"}
    assert all(one["attributes"]["label"] for one in asked)
    assert len({one["id"] for one in asked}) == len(asked)


def test_blank_issues_are_off() -> None:
    assert read(GITHUB / "ISSUE_TEMPLATE" / "config.yml") == {"blank_issues_enabled": False}


@pytest.mark.parametrize(
    ("name", "events"), [("test", {"push", "pull_request"}), ("newest", {"schedule", "workflow_dispatch"})]
)
def test_workflows_may_only_read(name: str, events: set[str]) -> None:
    found = workflow(name)
    assert found["permissions"] == {"contents": "read"}
    assert not any("permissions" in job for job in found["jobs"].values())
    assert events == found[True].keys()  # "on" is a truth value to YAML 1.1


def test_workflows_run_what_is_here() -> None:
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    commands = [step["run"] for step in STEPS if "run" in step]
    assert {".ci/run", ".ci/light", "make docs-site", "make newest"} == set(commands)
    for command in commands:
        program, *words = command.split()
        assert set(words) <= set(targets) if program == "make" else os.access(ROOT / program, os.X_OK)


def test_actions_are_pinned_by_tag() -> None:
    actions = [step["uses"] for step in STEPS if "uses" in step]
    assert actions
    assert [one for one in actions if not re.fullmatch(r"actions/[\w-]+@v\d+", one)] == []


def test_what_is_tried_on_every_system_is_here() -> None:
    text = (ROOT / ".ci" / "light").read_text()
    paths = re.findall(r"(?:tests|packages)/[\w./]+", text)
    assert len(paths) > 10
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_the_systems() -> None:
    jobs = workflow("test")["jobs"]
    assert "3.11" in str(jobs["everything"]["steps"])
    tried = {(one["os"].split("-")[0], one["python"]) for one in jobs["light"]["strategy"]["matrix"]["include"]}
    assert tried == {("ubuntu", "3.12"), ("ubuntu", "3.13"), ("macos", "3.11"), ("windows", "3.11")}


@pytest.mark.parametrize("path", PROSE, ids=lambda path: Path(path).name)
def test_no_address_is_made_up(path: str) -> None:
    """Neither the place of the repository nor anybody's e-mail address is known."""
    text = (ROOT / path).read_text(encoding="utf-8")
    assert re.findall(r"[\w.]+@[\w-]+\.\w+|github\.com/\S+", text) == []


@pytest.mark.parametrize(
    ("said", "limit"),
    [
        ("100 megapixels", "latentedit_keep.pictures:MAX_PIXELS"),
        ("megapixels, 1 GB", "latentedit_keep.pictures:MAX_PICTURE_BYTES"),
        ("a record of at most 1 MB", "latentedit_keep.pictures:MAX_RECORD_BYTES"),
        ("a latent of at most 64 MB", "latentedit_keep.pictures:MAX_PAYLOAD_BYTES"),
        ("safetensors of at most 256 MB", "latentedit.core.files.tensors:MAX_BYTES"),
        ("a header of at most 1 MB", "latentedit.core.files.tensors:MAX_HEADER_BYTES"),
        ("at most 16 MB", "latentedit.core.files.reading:MAX_DOCUMENT_BYTES"),
        ("128 levels", "latentedit.core.files.reading:MAX_DEPTH"),
        ("at most 64 MB; YAML", "latentedit.api.manifests.documents:MAX_BYTES"),
    ],
)
def test_limits_that_are_told_are_those_of_the_code(said: str, limit: str) -> None:
    module, name = limit.split(":")
    value = getattr(__import__(module, fromlist=[name]), name)
    number, unit = re.findall(r"(\d+) (megapixels|GB|MB|levels)", said)[0]
    assert int(number) * {"megapixels": 1e6, "GB": 1e9, "MB": 1e6, "levels": 1}[unit] == value
    assert said in " ".join((ROOT / "SECURITY.md").read_text(encoding="utf-8").split())


def test_the_size_of_an_upload_is_that_of_the_page() -> None:
    serve = (ROOT / "src" / "latentedit" / "app" / "serve.py").read_text(encoding="utf-8")
    assert '_MAX_UPLOAD = "20mb"' in serve
    assert "at most 20 MB" in " ".join((ROOT / "SECURITY.md").read_text(encoding="utf-8").split())


def test_the_pickles_that_are_told_are_those_that_are_refused() -> None:
    from latentedit.models.weights import PICKLE_SUFFIXES

    told = set(re.findall(r"`(\.\w+)`", (ROOT / "SECURITY.md").read_text(encoding="utf-8")))
    assert told == PICKLE_SUFFIXES
