"""The examples, and the commands and Python of the README, run in few steps of few layers."""

import re
import runpy
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import latentedit as le
from latentedit.cli.program import run
from latentedit.models.registry import load
from tests.installed import from_file
from tests.miniatures.flow import flux2_klein

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
README = (ROOT / "README.md").read_text(encoding="utf-8")
BUNDLED, YOURS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
SMALL = {"sizes": [64, 64, 96], "editors": {"eim": {"steps": 2, "search": {"steps": 2}}}}
WRITTEN = {
    "directions": ["glasses.safetensors", "you-glasses.png", "you-both.png"],
    "modular_pipeline": ["modular-kept.png", "modular-mask.png", "modular-edit.png"],
    "new_editor": ["one-noisy-step.png"],
    "own_pipeline": ["own.png", "own-eim.png"],
    "slider": ["slider.html"],
}


def quick(*arguments: Any, **options: Any) -> Any:
    """The bundled model with few layers, whose edits take two steps."""
    model: Any = load(*arguments, **options)
    del model._network.transformer_blocks[2:-1]
    eim: dict[str, Any] = {**model.defaults["editors"]["eim"], "steps": 2}
    search = {**eim["search"], "steps": 2}
    model.defaults = {**model.defaults, "editors": {"eim": {**eim, "search": search}}}
    return model


@pytest.mark.nightly
@pytest.mark.parametrize("name", WRITTEN)
def test_an_example_runs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("latentedit.load", quick, raising=False)
    monkeypatch.setattr(sys, "argv", ["example", "--miniature"])
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "docs/images", "docs/images")
    made, folder = runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__"), Path("out/examples")
    assert [one for one in WRITTEN[name] if not (folder / one).is_file()] == []
    if "undone" in made:
        assert made["undone"].tobytes() == Image.open("docs/images/you.png").convert("RGB").tobytes()
    if "kept" in made:
        unchanged = np.asarray(Image.open(folder / "modular-mask.png")) == 0
        assert np.array_equal(np.asarray(made["kept"])[unchanged], np.asarray(made["photo"])[unchanged])
    if "view" in made:
        assert made["view"].html == (folder / "slider.html").read_text(encoding="utf-8")
    assert capsys.readouterr().out.strip()


def test_every_example_with_cells_is_tested() -> None:
    scripts = {place.stem: place.read_text(encoding="utf-8") for place in EXAMPLES.glob("*.py")}
    assert {name for name, text in scripts.items() if text.startswith("# %%")} == set(WRITTEN)


TestOneNoisyStep = from_file(EXAMPLES / "new_editor.py").TestOneNoisyStep


@pytest.mark.nightly
def test_commands_of_the_readme_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "docs/images", "docs/images")
    lines = re.findall(r"^\$ latentedit (.* docs/images/.+|app .*)$", README, flags=re.MULTILINE)
    assert len(lines) == 3
    for line in lines:
        name, *words = shlex.split(line)
        assert run([name, "--help"] if name == "app" else [name, *words]) == 0  # `app` serves until it is interrupted


@pytest.mark.nightly
def test_the_readme_edits_with_your_pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example runs with a random FLUX.2 of a few hundred kilobytes as ``pipe``."""
    from_pipeline = le.from_pipeline
    monkeypatch.setattr("latentedit.from_pipeline", lambda pipe: from_pipeline(pipe, settings=SMALL), raising=False)
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (64, 64), (90, 120, 90)).save("photo.jpg")
    exec(compile(YOURS, "README.md", "exec"), {"le": le, "pipe": flux2_klein()})
    assert Image.open("edited.png").size == (64, 64)


@pytest.mark.nightly
def test_the_readme_edits_with_the_bundled_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("latentedit.load", quick, raising=False)
    monkeypatch.chdir(tmp_path)
    Path("docs/images").mkdir(parents=True)
    shutil.copy(ROOT / "docs/images/me.png", "docs/images")
    made: dict[str, Any] = {}
    exec(compile(BUNDLED, "README.md", "exec"), made)
    assert Image.open("red.png").size == Image.open("docs/images/me.png").size
    assert len(made["basis"]) == 3
