"""Fixtures for commands: a tiny model in place of the bundled one, and the command line in this process."""

import dataclasses
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from latentedit.cli.options import ModelChoice
from latentedit.cli.program import run
from latentedit.models.network import NetworkBackbone
from latentedit.testing.miniature import miniature_sd3
from tests.carried import carry
from tests.editors.edits import noise


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Exit code and output of a command line."""

    code: int
    out: str
    err: str


FROM, TO = "a person with no glasses", "a person with glasses"  # in the miniature's words

TUNED = {"editors": {"eim": {}}}  # settings of a model whose default editor is eim


Command = Callable[..., Outcome]
Ran = Callable[..., str]
Refused = Callable[..., str]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    def execute(*arguments: object) -> Outcome:
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return Outcome(code=code, out=printed.out, err=printed.err)

    return execute


@pytest.fixture
def ran(command: Command) -> Ran:
    """Run a command line that must succeed, and return its stdout."""

    def execute(*arguments: object) -> str:
        outcome = command(*arguments)
        assert outcome.code == 0, outcome.err
        return outcome.out

    return execute


@pytest.fixture
def refused(command: Command, tmp_path: Path) -> Refused:
    """Run a command line that must fail: exit code 2, an error on stderr, empty stdout, no new file.

    It returns the error in one line, with the hint after a period, like the library's message.
    """

    def execute(*arguments: object) -> str:
        before = sorted(tmp_path.rglob("*"))
        outcome = command(*arguments)
        assert outcome.code == 2, outcome
        assert outcome.out == ""
        assert re.fullmatch(r"error: .+\n(hint: .+\n)?", outcome.err), outcome.err
        assert "Traceback" not in outcome.err
        assert sorted(tmp_path.rglob("*")) == before
        return outcome.err.removeprefix("error: ").replace("\nhint: ", ". ")

    return execute


@pytest.fixture(scope="session")
def miniature(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SD3 folder with random weights, of a few hundred kilobytes, whose default editor is eim."""
    folder = miniature_sd3(tmp_path_factory.mktemp("models") / "miniature", t5=False)
    (folder / "latentedit.json").write_text(json.dumps(TUNED))
    return folder


@pytest.fixture(scope="session")
def loaded_models() -> dict[str, Any]:
    """Models loaded from the miniature's folder, by options."""
    return {}


@pytest.fixture(autouse=True)
def loaded_once(miniature: Path, loaded_models: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let commands share the miniature's networks, because loading takes as long as an edit.

    A method is replaced: modules that a command imports first would keep a double of the function `load`.
    """
    load = ModelChoice.load

    def load_once(choice: ModelChoice) -> Any:
        if Path(choice.name) != miniature:
            return load(choice)
        requested = repr(sorted(choice.given().items()))
        if requested not in loaded_models:
            loaded_models[requested] = load(choice)
        return loaded_models[requested]

    monkeypatch.setattr(ModelChoice, "load", load_once)


@pytest.fixture
def bundled(miniature: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The miniature as the bundled model "portraits", with stored facts."""
    home = tmp_path / "installed"
    shutil.copytree(miniature, home / "portraits")
    facts = {"description": "a test model", "quality": {"vae": {"psnr_db": 31.25}, "images": 200}}
    (home / "portraits" / "latentedit.json").write_text(json.dumps(facts | TUNED))
    carry(monkeypatch, home)
    return home / "portraits"


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A small image of noise."""
    path = tmp_path / "me.png"
    noise((56, 40), seed=5).save(path)
    return path


@pytest.fixture(scope="session")
def kept_files() -> dict[tuple[object, ...], bytes]:
    """Files written by command lines, shared by all tests."""
    return {}


@pytest.fixture
def made(
    image: Path, miniature: Path, tmp_path: Path, kept_files: dict[tuple[object, ...], bytes]
) -> Callable[..., Path]:
    """A function that writes a direction file, found on the image from no glasses to glasses or another text."""

    def make(name: str, *more: object, to: str = TO) -> Path:
        place, requested = tmp_path / f"{name}.safetensors", (image.read_bytes(), *more, to)
        if requested not in kept_files:
            texts = ("--source-prompt", FROM, "--prompt", to)
            words = ("direction", "make", image, *texts, "--model", miniature, "--quiet", "-o", place, *more)
            assert run([str(word) for word in words]) == 0
            kept_files[requested] = place.read_bytes()
        place.write_bytes(kept_files[requested])
        return place

    return make


@pytest.fixture
def unloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail the test if a model is loaded."""

    def loaded(*_: object, **__: object) -> None:
        raise AssertionError("loaded")

    monkeypatch.setattr(NetworkBackbone, "__init__", loaded)


@pytest.fixture
def verifier(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the sampling check pass, which a model with random weights would fail."""

    def passed(folder: Path) -> list[str]:
        return [f"sampled image of {folder.name} as stored"]

    monkeypatch.setattr("latentedit.calibration.drawing.verify_drawings", passed)


__all__ = ["bundled", "command", "kept_files", "loaded_models", "loaded_once", "made"]
__all__ += ["image", "miniature", "ran", "refused", "unloaded", "verifier"]
