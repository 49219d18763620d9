"""Every example with cells runs, in few steps of few layers."""

import importlib.util
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from latentedit.models.registry import load

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parents[1] / "examples"
WRITTEN = {
    "directions": ["glasses.safetensors", "you-glasses.png", "you-both.png"],
    "new_editor": ["one-noisy-step.png"],
    "own_pipeline": ["own.png", "own-eim.png"],
    "slider": ["slider.html"],
}


def quick(*arguments: Any, **options: Any) -> Any:
    """The bundled model with few layers, whose edits take two steps."""
    model: Any = load(*arguments, **options)
    del model._network.transformer_blocks[2:-1]
    eim = {**model.defaults["editors"]["eim"], "steps": 2}
    search = {**eim["search"], "steps": 2}
    model.defaults = {**model.defaults, "editors": {"eim": {**eim, "search": search}}}
    return model


@pytest.mark.nightly
@pytest.mark.parametrize("name", WRITTEN)
def test_it_runs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("latentedit.load", quick, raising=False)
    monkeypatch.setattr(sys, "argv", ["example", "--miniature"])
    monkeypatch.chdir(tmp_path)
    made, folder = runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__"), Path("out/examples")
    assert [one for one in WRITTEN[name] if not (folder / one).is_file()] == []
    if "undone" in made:
        assert made["undone"].tobytes() == Image.open(folder / "you.png").convert("RGB").tobytes()
    if "view" in made:
        assert made["view"].html == (folder / "slider.html").read_text(encoding="utf-8")
    assert capsys.readouterr().out.strip()


def test_every_example_with_cells_is_tried() -> None:
    scripts = {place.stem: place.read_text(encoding="utf-8") for place in EXAMPLES.glob("*.py")}
    assert {name for name, text in scripts.items() if text.startswith("# %%")} == set(WRITTEN)


def _new_editor() -> Any:
    spec = importlib.util.spec_from_file_location("new_editor", EXAMPLES / "new_editor.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TestOneNoisyStep = _new_editor().TestOneNoisyStep
