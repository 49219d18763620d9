"""``latentedit models``: list, show, path, verify, calibrate."""

import dataclasses
import functools
import json
import shutil
from pathlib import Path

import pytest

from latentedit.api import settings_search
from latentedit.api.calibrate import Calibration
from latentedit.api.settings_search import Search
from latentedit.core.settings import to_plain
from latentedit.editors.calibrated import CalibratedSettings
from latentedit.editors.eim import EIM
from latentedit.editors.judge import Judge
from latentedit.models.calibrations import store_calibration
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
    assert "pip install ./packages/portraits" in command("models", "list").out


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


def test_a_model_without_facts_is_shown_all_the_same(command: Command, bundled: Path) -> None:
    (bundled / "latentedit.json").unlink()
    assert command("models", "list").code == 0
    outcome = command("models", "show", "portraits")
    assert outcome.code == 0
    assert outcome.out.startswith("portraits: no description\n")


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
    """Four pictures of two steps, two of them edited by two candidates, and a data folder of its own."""
    small = functools.partial(Calibration, pictures=4, steps=2, batch=2, harmed=1)
    monkeypatch.setattr("latentedit.api.calibrate.Calibration", small)
    search = functools.partial(Search, pictures=2, steps=2, batch=2)
    monkeypatch.setattr("latentedit.api.settings_search.Search", search)
    monkeypatch.setattr(settings_search, "AROUND", {"3 steps": settings_search.AROUND["3 steps"]})
    monkeypatch.setenv("LATENTEDIT_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.mark.nightly
def test_calibrate_keeps_what_show_tells_and_forgets_it(
    command: Command, miniature: Path, tmp_path: Path, small_calibration: Path
) -> None:
    captions = tmp_path / "captions.txt"
    captions.write_text("a person with glasses\n\na person with hair\n")
    outcome = command("models", "calibrate", miniature, "--captions", captions, "--device", "cpu")
    assert outcome.code == 0, outcome.err
    first, guard, settings, _, kept = outcome.out.splitlines()  # the model has settings of its own
    assert first.startswith("6 pictures, 540 evaluations: about ")  # 136 of the guard, the rest of the search
    assert guard.startswith("guard: from 4 pictures of its own; a picture is known up to")
    assert settings.startswith(("settings: 3 steps", "settings: the library's default"))
    (place,) = (small_calibration / "calibrations").iterdir()
    assert kept == f"kept in {place}"
    shown = command("models", "show", miniature).out
    assert "guard: from 4 pictures of its own" in shown
    assert settings in shown
    shared = shutil.copy(place, tmp_path / "shared.json")
    assert command("models", "calibrate", miniature, "--forget").out == f"{miniature}: removed {place}\n"
    assert command("models", "calibrate", miniature, "--forget").out == f"{miniature}: nothing was kept of it\n"
    shown = command("models", "show", miniature).out
    assert "guard: none. Run: latentedit models calibrate" in shown
    assert "settings: none. Run: latentedit models calibrate" in shown
    assert command("models", "calibrate", miniature, "--from", shared).out == f"{miniature}: kept in {place}\n"
    assert settings in command("models", "show", miniature).out


def test_a_calibration_of_another_model_is_refused(
    refused: Refused, miniature: Path, tmp_path: Path, small_calibration: Path
) -> None:
    (tmp_path / "other.json").write_text('{"fingerprint": "abc"}')
    said = refused("models", "calibrate", miniature, "--from", tmp_path / "other.json")
    assert "calibrates another model, of the fingerprint 'abc'" in said
    (tmp_path / "half.json").write_text('{"fingerprint": "abc", "guard": {}}')
    assert "is no calibration: pictures is missing" in refused(
        "models", "calibrate", miniature, "--from", tmp_path / "half.json"
    )
    (tmp_path / "none.json").write_text("[]")
    assert "damaged" in refused("models", "calibrate", miniature, "--from", tmp_path / "none.json")
    assert "exclude each other" in refused("models", "calibrate", miniature, "--from", "a.json", "--forget")
    assert not small_calibration.exists()


def test_settings_that_are_not_used_are_told(command: Command, tmp_path: Path, small_calibration: Path) -> None:
    fingerprint = json.loads(command("models", "show", "portraits", "--json").out)["fingerprint"]
    found = CalibratedSettings(
        eim=EIM(),
        local=True,
        judge=Judge(),
        strengths=(-1.0, 2.0),
        pictures=2,
        evaluations=32,
        tried={"the library's default": {"residual": 1.0}},
    )
    for preferred in (False, True):
        store_calibration(fingerprint, {"settings": to_plain(dataclasses.replace(found, preferred=preferred))})
        shown = command("models", "show", "portraits").out
        assert "settings: the library's default; an edit takes 32 evaluations; strengths -1.0 to 2.0" in shown
        assert ("not used: the model brings settings of its own" in shown) is not preferred


def test_calibrate_tells_a_home_that_is_read_only_before_it_starts(
    refused: Refused, miniature: Path, monkeypatch: pytest.MonkeyPatch, read_only_folder: Path
) -> None:
    monkeypatch.setenv("LATENTEDIT_DATA", str(read_only_folder / "data"))
    assert "cannot be made" in refused("models", "calibrate", miniature, "--device", "cpu")


@pytest.mark.nightly
def test_calibrate_in_the_folder(command: Command, miniature: Path, tmp_path: Path, small_calibration: Path) -> None:
    folder = shutil.copytree(miniature, tmp_path / "mine")
    told = json.loads(command("models", "calibrate", folder, "--in-folder", "--json", "--device", "cpu").out)
    assert (told["guard"]["pictures"], told["settings"]["pictures"]) == (4, 2)
    stored = json.loads((folder / "latentedit.json").read_text())["calibration"]
    assert stored["guard"]["pictures"] == 4
    assert not list((small_calibration / "calibrations").iterdir())


def test_calibrate_refuses_an_empty_file_of_captions(refused: Refused, miniature: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("\n \n")
    assert "has no captions" in refused("models", "calibrate", miniature, "--captions", tmp_path / "empty.txt")


def test_what_is_not_searched_for_needs_no_options(refused: Refused, miniature: Path, tmp_path: Path) -> None:
    line = refused("models", "calibrate", miniature, "--from", tmp_path / "x.json", "--in-folder", "--prefer")
    assert "--prefer and --in-folder cannot be used here" in line
