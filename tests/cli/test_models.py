"""``latentedit models``: list, show, path, verify, train."""

import functools
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import latentedit_portraits
from latentedit.api.calibrate import Calibration
from tests.carried import carry
from tests.commands import Command, Refused


def test_list(command: Command, bundled: Path) -> None:
    outcome = command("models", "list")
    assert outcome.code == 0
    assert outcome.out.startswith("portraits ")
    assert "MB  a test model" in outcome.out
    facts = json.loads(command("models", "list", "--json").out)
    assert facts["models"][0]["size_bytes"] == sum(f.stat().st_size for f in bundled.rglob("*") if f.is_file())


def test_list_of_nothing_says_how_to_get_one(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    carry(monkeypatch, tmp_path)
    assert "pip install latentedit-portraits" in command("models", "list").out


def test_show(command: Command, bundled: Path) -> None:
    outcome = command("models", "show", "portraits")
    assert outcome.code == 0
    assert "a test model" in outcome.out
    assert [line.split() for line in outcome.out.splitlines() if "psnr" in line] == [["vae,", "psnr_db", "31.25"]]
    assert "transformer/diffusion_pytorch_model.safetensors" in outcome.out
    facts = json.loads(command("models", "show", "portraits", "--json").out)
    assert facts["quality"]["pictures"] == 200


def test_path(command: Command, bundled: Path, miniature: Path) -> None:
    assert command("models", "path", "portraits").out == f"{bundled}\n"
    assert command("models", "path", miniature).out == f"{miniature}\n", "a folder works as a name"


@pytest.mark.parametrize("what", ["show", "path", "verify"])
def test_unknown_names_get_the_nearest(refused: Refused, bundled: Path, what: str) -> None:
    assert "did you mean 'portraits'" in refused("models", what, "portrait")


@pytest.mark.usefixtures("verifier")
def test_verify(command: Command, bundled: Path) -> None:
    outcome = command("models", "verify", "portraits")
    assert outcome.code == 0
    assert outcome.out.startswith("portraits: verified\n")
    assert "sampled picture of portraits as stored" in outcome.out
    assert json.loads(command("models", "verify", "portraits", "--json").out)["verified"] is True


@pytest.mark.usefixtures("verifier")
def test_verify_finds_a_truncated_file(refused: Refused, bundled: Path) -> None:
    file = bundled / "transformer" / "diffusion_pytorch_model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    assert file.name in refused("models", "verify", "portraits")


def test_unsound_models_are_refused(refused: Refused, bundled: Path) -> None:
    for text in ("{", "[]"):
        (bundled / "latentedit.json").write_text(text)
        assert "latentedit.json" in refused("models", "show", "portraits")
    assert "did you mean 'portraits'" in refused("models", "train", "portrait")
    assert "--recipe" in refused("models", "train", "portraits", "--recipe", "tpu")


def test_a_model_without_facts_is_shown_all_the_same(command: Command, bundled: Path) -> None:
    (bundled / "latentedit.json").unlink()
    assert command("models", "list").code == 0
    outcome = command("models", "show", "portraits")
    assert outcome.code == 0
    assert outcome.out.startswith("portraits: no description\n")


@pytest.mark.parametrize(("name", "recipe"), [("portraits", "train"), ("portraits-unet", "train_unet")])
def test_train_hands_its_options_on(
    name: str, recipe: str, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Any] = []
    module: Any = ModuleType(f"latentedit_portraits.{recipe}")

    def stub(out: Path, recipe: str, progress: object, *, device: str | None, log: Callable[[str], None]) -> Path:
        calls.append((out, recipe, progress, device))
        log("epoch 1")
        return out / "model"

    setattr(module, recipe, stub)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(latentedit_portraits, recipe, module, raising=False)
    arguments = ("models", "train", name, "--out", tmp_path, "--recipe", "gpu", "--device", "cuda")
    outcome = command(*arguments)
    assert outcome.code == 0
    assert calls == [(tmp_path, "gpu", None, "cuda")]
    assert "epoch 1" in outcome.out
    assert str(tmp_path / "model") in outcome.out
    assert command(*arguments, "--quiet").out == ""
    command("models", "train", name)
    assert calls[-1][0] == Path("out/training") / name


def test_families_say_what_was_tested_and_that_no_real_weights_were(command: Command) -> None:
    outcome = command("models", "families")
    assert outcome.code == 0, outcome.err
    assert "FLUX.2: Flux2KleinPipeline, Flux2Pipeline\n" in outcome.out
    assert "none was run with real weights" in outcome.out.splitlines()[-1]
    told = json.loads(command("models", "families", "--json").out)
    flux = next(one for one in told["families"] if one["name"] == "FLUX.1")
    assert {"FluxPipeline", "FluxKontextPipeline"} <= set(flux["pipelines"])
    assert [(one["name"], one["guidance_kind"], one["guidance"]) for one in flux["members"]] == [
        ("Dev", "embedded", 3.5),
        ("Schnell", "none", 1.0),
    ]
    assert flux["lines"] > 50


@pytest.fixture
def small_calibration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Four pictures of two steps, and a data folder of its own."""
    small = functools.partial(Calibration, pictures=4, steps=2, batch=2, harmed=1)
    monkeypatch.setattr("latentedit.api.calibrate.Calibration", small)
    monkeypatch.setenv("LATENTEDIT_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


def test_calibrate_keeps_a_guard_that_show_tells(
    command: Command, miniature: Path, tmp_path: Path, small_calibration: Path
) -> None:
    captions = tmp_path / "captions.txt"
    captions.write_text("a person with glasses\n\na person with hair\n")
    outcome = command("models", "calibrate", miniature, "--captions", captions, "--device", "cpu")
    assert outcome.code == 0, outcome.err
    first, said, kept = outcome.out.splitlines()
    assert first == "4 pictures, 136 evaluations: about 1 min"  # 4 (2 x 2 + 6) + 2 x 8 harms x 6
    assert "from 4 pictures of its own; a picture is known up to" in said
    (place,) = (small_calibration / "calibrations").iterdir()
    assert kept == f"kept in {place}"
    told = json.loads(command("models", "calibrate", miniature, "--json").out)
    assert told["guard"]["pictures"] == 4
    assert "guard: from 4 pictures of its own" in command("models", "show", miniature).out
    place.unlink()
    assert "guard: none. Run: latentedit models calibrate" in command("models", "show", miniature).out


def test_calibrate_in_the_folder(command: Command, miniature: Path, tmp_path: Path, small_calibration: Path) -> None:
    folder = shutil.copytree(miniature, tmp_path / "mine")
    assert command("models", "calibrate", folder, "--in-folder", "--quiet", "--device", "cpu").code == 0
    stored = json.loads((folder / "latentedit.json").read_text())["calibration"]
    assert stored["guard"]["pictures"] == 4
    assert not list((small_calibration / "calibrations").iterdir())


def test_calibrate_refuses_an_empty_file_of_captions(refused: Refused, miniature: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("\n \n")
    assert "has no captions" in refused("models", "calibrate", miniature, "--captions", tmp_path / "empty.txt")
