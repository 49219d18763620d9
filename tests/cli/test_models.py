"""``latentedit models``: list, show, path, verify, calibrate."""

import functools
import json
import shutil
from pathlib import Path

import pytest

from latentedit.calibration.guard import GuardCalibration
from latentedit.calibration.verdict import VerdictCalibration
from latentedit.core.errors import to_install
from tests.commands import Command, Ran, Refused


def test_list_prints_description_and_size(command: Command, ran: Ran, bundled: Path) -> None:
    printed = ran("models", "list")
    assert printed.startswith("portraits ")
    assert "MB  a test model" in printed
    facts = json.loads(command("models", "list", "--json").out)
    assert facts["models"][0]["size_bytes"] == sum(f.stat().st_size for f in bundled.rglob("*") if f.is_file())
    shutil.rmtree(bundled)
    assert to_install("latentedit-portraits") in command("models", "list").out


def test_show_and_path_of_a_model(command: Command, ran: Ran, bundled: Path, miniature: Path) -> None:
    assert command("models", "path", "portraits").out == f"{bundled}\n"
    assert command("models", "path", miniature).out == f"{miniature}\n", "a folder works as a name"
    printed = ran("models", "show", "portraits")
    assert "a test model" in printed
    assert [line.split() for line in printed.splitlines() if "psnr" in line] == [["vae,", "psnr_db", "31.25"]]
    assert "transformer/diffusion_pytorch_model.safetensors" in printed
    assert f" MB in {bundled}\n" in printed
    facts = json.loads(command("models", "show", "portraits", "--json").out)
    assert facts["quality"]["images"] == 200
    (bundled / "latentedit.json").unlink()
    assert command("models", "show", "portraits").out.startswith("portraits: no description\n")


def test_families_are_listed_with_their_networks(command: Command) -> None:
    assert "FLUX.2: Flux2Transformer2DModel\n" in command("models", "families").out
    report = json.loads(command("models", "families", "--json").out)
    flux = next(one for one in report["families"] if one["name"] == "FLUX.1")
    assert flux["networks"] == ["FluxTransformer2DModel"]
    assert flux["multiple_px"] == 16


@pytest.mark.usefixtures("verifier")
def test_verify_finds_damaged_files(command: Command, ran: Ran, refused: Refused, bundled: Path) -> None:
    printed = ran("models", "verify", "portraits")
    assert printed.startswith("portraits: verified\n")
    assert "sampled image of portraits as stored" in printed
    assert json.loads(command("models", "verify", "portraits", "--json").out)["verified"] is True
    file = bundled / "transformer" / "diffusion_pytorch_model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    assert file.name in refused("models", "verify", "portraits")


@pytest.fixture
def small_calibration(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Four images of two steps for the guard, two for the verdict, and a temporary data folder."""
    small = {
        "guard.GuardCalibration": functools.partial(GuardCalibration, images=4, steps=2, batch=2, harmed=1),
        "verdict.VerdictCalibration": functools.partial(VerdictCalibration, images=2, steps=2, batch=2),
    }
    for name, value in small.items():
        monkeypatch.setattr(f"latentedit.calibration.{name}", value)
    environment["LATENTEDIT_DATA"] = str(tmp_path / "data")
    return tmp_path / "data"


def test_show_prints_the_stored_calibration(
    command: Command, ran: Ran, miniature: Path, tmp_path: Path, small_calibration: Path
) -> None:
    captions = tmp_path / "captions.txt"
    captions.write_text("a person with glasses\n\na person with hair\n")
    printed = ran("models", "calibrate", miniature, "--captions", captions, "--device", "cpu")
    guard, settings, *_, saved = printed.splitlines()  # the model has its own settings
    (place,) = (small_calibration / "calibrations").iterdir()
    assert saved.endswith(str(place))
    shown = command("models", "show", miniature).out
    assert guard in shown
    assert settings in shown
    assert "--prefer" in shown
    stored = json.loads(place.read_text())
    assert set(stored) == {"fingerprint", "guard", "settings"}
    assert stored["guard"]["level"] == stored["settings"]["judge"]["level"], "the two share what they compute there"
    stored["settings"]["preferred"] = True
    place.write_text(json.dumps(stored))
    assert "--prefer" not in command("models", "show", miniature).out
