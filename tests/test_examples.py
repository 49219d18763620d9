"""Every example runs, cell by cell as its notebook does, in few steps of few layers; and the notebooks are theirs."""

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tools.notebooks import EXAMPLES, notebook, notebooks

from latentedit.models.registry import load

pytestmark = pytest.mark.slow

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


def run_cells(name: str) -> dict[str, Any]:
    """Run the code of a notebook; gives the names that it has made."""
    cells = json.loads(notebooks()[EXAMPLES / "notebooks" / f"{name}.ipynb"])["cells"]
    made: dict[str, Any] = {"__name__": "__main__"}
    for cell in cells:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), cell["id"], "exec"), made)
    return made


@pytest.mark.nightly
@pytest.mark.parametrize("name", WRITTEN)
def test_it_runs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("latentedit.load", quick, raising=False)
    monkeypatch.setattr(sys, "argv", ["example", "--miniature"])
    monkeypatch.chdir(tmp_path)
    made, folder = run_cells(name), Path("out/examples")
    assert [one for one in WRITTEN[name] if not (folder / one).is_file()] == []
    if "undone" in made:
        assert made["undone"].tobytes() == Image.open(folder / "you.png").convert("RGB").tobytes()
    if "view" in made:
        assert made["view"].html == (folder / "slider.html").read_text(encoding="utf-8")
    assert capsys.readouterr().out.strip()


def test_every_example_with_cells_is_tried() -> None:
    assert {place.stem for place in notebooks()} == set(WRITTEN)


def test_the_notebooks_are_those_of_the_scripts() -> None:
    """Where this fails: python -m tools.notebooks."""
    there = {path: path.read_text(encoding="utf-8") for path in (EXAMPLES / "notebooks").iterdir()}
    assert there == notebooks()


def test_cells_of_a_notebook() -> None:
    text = '# %% [markdown]\n"""\n# Title\n"""\n\n# %%\nimport sys\n\n# %%\nprint(sys.path)\n'
    cells = json.loads(notebook(text))["cells"]
    assert [(one["cell_type"], "".join(one["source"])) for one in cells] == [
        ("markdown", "# Title"),
        ("code", "import sys"),
        ("code", "print(sys.path)"),
    ]
    assert [one["outputs"] for one in cells[1:]] == [[], []]


def _new_editor() -> Any:
    spec = importlib.util.spec_from_file_location("new_editor", EXAMPLES / "new_editor.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TestOneNoisyStep = _new_editor().TestOneNoisyStep
