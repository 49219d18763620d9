"""A package of somebody else (``examples/plugin``) is installed, and each thing in it is used by its name."""

import importlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from latentedit.editors.base import Editor
from latentedit.testing.contracts.editor import EditorContract
from latentedit.testing.miniature import miniature_sd3
from tests.commands import Command, command

__all__ = ["command"]

pytestmark = pytest.mark.nightly

EXAMPLE = Path(__file__).parent.parent / "examples" / "plugin"


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pip put the package; its model is a miniature of random weights that says it is a ``PluginPipeline``."""
    project, target = (tmp_path_factory.mktemp(name) for name in ("project", "target"))
    shutil.copytree(EXAMPLE, project, dirs_exist_ok=True)
    weights = miniature_sd3(project / "src" / "plugin" / "weights", t5=False)
    index = json.loads((weights / "model_index.json").read_text())
    (weights / "model_index.json").write_text(json.dumps(index | {"_class_name": "PluginPipeline"}))
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--disable-pip-version-check", "--target", str(target)]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, str(project)], check=True)
    return target


@pytest.fixture
def report(installed: Path, command: Command, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Run a command line where the package is found, and read the printed JSON."""
    monkeypatch.syspath_prepend(installed)

    def execute(*arguments: object) -> Any:
        outcome = command(*arguments, "--json")
        assert outcome.code == 0, outcome.err
        return json.loads(outcome.out)

    return execute


class TestEditor(EditorContract):
    @pytest.fixture
    def editor(self, installed: Path, monkeypatch: pytest.MonkeyPatch) -> Editor:
        monkeypatch.syspath_prepend(installed)
        made: Editor = importlib.import_module("plugin.editor").OneStep()
        return made


def test_model_editor_and_captioner(installed: Path, tmp_path: Path) -> None:
    """In a process of their own, as a user has them."""
    values = np.random.default_rng(5).integers(0, 100, (64, 64, 3)).astype(np.uint8)
    Image.fromarray(values).save(tmp_path / "dark.png")
    output = tmp_path / "edited.png"
    words = ["edit", tmp_path / "dark.png", "--change", "black => red", "--json", "-o", output]
    names = ["--model", "plugin-model", "--method", "plugin-editor", "--captioner", "plugin-captioner"]
    ended = subprocess.run(
        [sys.executable, "-m", "latentedit.cli.main", *words, *names],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(installed)},
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    record = json.loads(ended.stdout)
    assert (record["caption"], record["method"], record["target"]) == ("black hair", "plugin-editor", "red hair")
    assert output.is_file()


def test_model_domain_and_experiment_are_found_by_name(
    report: Callable[..., Any], installed: Path, tmp_path: Path, forked: None
) -> None:
    assert report("models", "show", "plugin-model")["folder"] == str(installed / "plugin" / "weights")
    made = report("bench", "data", "counterfactual-plugin-domain", "--items", 3, "-o", tmp_path / "data")
    assert (made["name"].startswith("counterfactual-plugin-domain"), made["items"]) == (True, 3)
    assert len(list((tmp_path / "data").rglob("*.png"))) >= 6
    (record,) = report("reproduce", "plugin-experiment", "-o", tmp_path / "out")["experiments"]
    assert record["primary"][0]["verdict"] == "holds"
