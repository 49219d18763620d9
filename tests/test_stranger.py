"""A package of somebody else (``examples/stranger``) is installed, and each thing in it is used by its name."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from latentedit.testing.miniature import miniature_sd3

EXAMPLE = Path(__file__).parent.parent / "examples" / "stranger"
MOST_LINES = 60
FILES = sorted(path for path in EXAMPLE.rglob("*.py") if path.name != "__init__.py")


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pip put the package; its model is a miniature of random weights that says it is a ``StrangerPipeline``."""
    project, target = (tmp_path_factory.mktemp(name) for name in ("project", "target"))
    shutil.copytree(EXAMPLE, project, dirs_exist_ok=True)
    weights = miniature_sd3(project / "src" / "stranger" / "weights", t5=False)
    index = json.loads((weights / "model_index.json").read_text())
    (weights / "model_index.json").write_text(json.dumps(index | {"_class_name": "StrangerPipeline"}))
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--disable-pip-version-check", "--target", str(target)]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, str(project)], check=True)
    return target


def latentedit(installed: Path, *arguments: object) -> Any:
    """A command line of a process that finds the package; what it printed, read as JSON."""
    program = [sys.executable, "-m", "latentedit.cli.main", *map(str, arguments), "--json"]
    where = os.environ | {"PYTHONPATH": str(installed)}
    ended = subprocess.run(program, capture_output=True, text=True, env=where, check=False)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_thing_is_one_short_file(path: Path) -> None:
    assert path.stem in ("backbone", "captioner", "domain", "editor", "experiment")
    assert len(path.read_text().splitlines()) <= MOST_LINES


def test_model_editor_and_captioner(installed: Path, tmp_path: Path) -> None:
    values = np.random.default_rng(5).integers(0, 100, (64, 64, 3)).astype(np.uint8)
    Image.fromarray(values).save(tmp_path / "dark.png")
    names = ("--model", "stranger-model", "--method", "stranger-editor", "--captioner", "stranger-captioner")
    output = tmp_path / "edited.png"
    told = latentedit(installed, "edit", tmp_path / "dark.png", "--change", "black => red", *names, "-o", output)
    assert (told["caption"], told["method"]) == ("black hair", "stranger-editor")
    assert told["target"] == "red hair"
    assert output.is_file()
    assert latentedit(installed, "models", "show", "stranger-model")["folder"] == str(
        installed / "stranger" / "weights"
    )


def test_domain(installed: Path, tmp_path: Path) -> None:
    told = latentedit(installed, "bench", "data", "counterfactual-stranger-world", "--items", 3, "-o", tmp_path / "out")
    assert told["name"].startswith("counterfactual-stranger-world")
    assert told["items"] == 3
    assert len(list((tmp_path / "out").rglob("*.png"))) >= 6


def test_experiment(installed: Path, tmp_path: Path) -> None:
    told = latentedit(installed, "reproduce", "stranger-question", "-o", tmp_path / "out")
    (record,) = told["experiments"]
    assert record["claims"][0]["verdict"] == "holds"
