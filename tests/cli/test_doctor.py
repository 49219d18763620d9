"""``latentedit doctor``: what works on this machine, and exit code 1 where something does not."""

import json
from pathlib import Path

import pytest

from tests.commands import Command, Refused


@pytest.mark.usefixtures("verifier")
def test_doctor_finds_all_well(command: Command, bundled: Path) -> None:
    outcome = command("doctor")
    assert outcome.code == 0, outcome.out
    assert "sampled picture of portraits as stored" in outcome.out
    assert outcome.out.splitlines()[-1] == "all well"
    for word in ("Python", "torch", "diffusers", "devices", "threads", "memory"):
        assert word in outcome.out


def test_doctor_finds_a_damaged_model(command: Command, bundled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (bundled / "vae" / "config.json").unlink()
    outcome = command("doctor", "--no-sample")
    assert outcome.code == 1
    assert "to be mended: model portraits" in outcome.out
    facts = json.loads(command("doctor", "--no-sample", "--json").out)
    assert facts["ok"] is False
    assert [check["check"] for check in facts["checks"] if not check["ok"]] == ["model portraits"]


def test_doctor_misses_a_package(command: Command, bundled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("latentedit.cli.doctor._PACKAGES", ("torch", "no-such-package"))
    outcome = command("doctor", "--no-sample")
    assert outcome.code == 1
    assert "pip install no-such-package" in outcome.out


def test_how_a_model_is_loaded_goes_with_one(refused: Refused) -> None:
    line = refused("doctor", "--no-sample", "--device", "cuda", "--dtype", "float32")
    assert "--device and --dtype cannot be used here: they are for a --model" in line
