"""The README keeps to a page, types no number, and its Python runs as it stands, in few steps of few layers."""

import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import latentedit as le
from latentedit.cli.main import run
from latentedit.models.registry import load
from latentedit.testing.miniatures.flux2 import flux2_klein

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
YOURS, BUNDLED = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
SMALL = {"sizes": [64, 64, 96], "editors": {"eim": {"steps": 2, "search": {"steps": 2}}}}
MARK = r"<!--[^>]+-->"
TYPED = {"0", "0.5", "1", "95", "3.11", "2411.08196", "2509.00541", "128", "2.0"}
"""Numbers that nothing measured: strengths, levels of intervals, a version of Python, papers, a side, the licence."""


def few_steps(settings: Any) -> Any:
    """The same settings, with at most two steps wherever there are steps."""
    if not isinstance(settings, dict):
        return settings
    return {key: min(value, 2) if key == "steps" else few_steps(value) for key, value in settings.items()}


def test_it_is_a_page() -> None:
    assert len(README.splitlines()) <= 120
    assert len(re.sub(MARK, "", README).split()) <= 900


def test_every_number_in_its_prose_is_generated() -> None:
    prose = re.sub(r"```.+?```|`[^`]+`|<!--[^/][^>]*-->.*?<!--/-->|\]\([^)]+\)", "", README, flags=re.DOTALL)
    assert set(re.findall(r"(?<![\w.])\d+(?:\.\d+)?", prose)) <= TYPED


@pytest.mark.nightly
def test_its_commands_and_options_exist(capsys: pytest.CaptureFixture[str]) -> None:
    for line in re.findall(r"^\$ latentedit (.+)$", README, flags=re.MULTILINE):
        name, *words = line.split()
        assert run([name, "--help"]) == 0
        told = capsys.readouterr().out
        assert [word for word in words if word.startswith("-") and word.partition("=")[0] not in told] == []


@pytest.mark.nightly
def test_after_make_demo_the_next_commands_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that end; what the others need is what `make demo` installs."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "docs/pictures", "docs/pictures")
    (block,) = re.findall(r"After `make demo`.*?```console\n(.*?)```", README, flags=re.DOTALL)
    commands = [shlex.split(line.removeprefix("$ latentedit ")) for line in block.splitlines()[1:]]
    for words in commands:
        assert words[0] == "app" or run(words) == 0
    (extras,) = re.findall(r"^\$\(SLIM\):.*?--editable '\.\[(.*?)\]'", MAKEFILE, flags=re.DOTALL | re.MULTILINE)
    assert {words[0] for words in commands} & {"app", "keep"} <= set(extras.split(","))


@pytest.mark.nightly
def test_the_block_of_your_pipeline_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a random FLUX.2 of a few hundred kilobytes as ``pipe``."""
    taken = le.from_pipeline
    monkeypatch.setattr("latentedit.from_pipeline", lambda pipe: taken(pipe, settings=SMALL), raising=False)
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (64, 64), (90, 120, 90)).save("photo.jpg")
    exec(compile(YOURS, "README.md", "exec"), {"pipe": flux2_klein()})
    assert Image.open("edited.png").size == (64, 64)


@pytest.mark.nightly
def test_the_block_of_the_bundled_model_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def load_quick(name: str) -> Any:
        model: Any = load(name)
        del model._network.transformer_blocks[2:-1]
        model.defaults = few_steps(model.defaults)
        return model

    monkeypatch.setattr("latentedit.load", load_quick, raising=False)
    monkeypatch.chdir(tmp_path)
    Path("docs/pictures").mkdir(parents=True)
    shutil.copy(ROOT / "docs/pictures/me.png", "docs/pictures")
    exec(compile(BUNDLED, "README.md", "exec"), {"le": le})
    assert "<latentedit-viewer" in Path("slider.html").read_text(encoding="utf-8")
