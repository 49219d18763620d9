"""``latentedit doctor``: checks of this machine and of one model, and exit code 1 if one fails."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.commands import Command
from tests.miniatures.flow import flux

LOADED = ["drawing", "codec", "inversion", "guidance", "derivative", "edit"]


def checks(command: Command, *words: object, code: int = 0) -> dict[str, Any]:
    """The report of ``doctor --json``; its checks by name."""
    outcome = command("doctor", *words, "--json")
    assert outcome.code == code
    facts = json.loads(outcome.out)
    assert facts["ok"] is (code == 0) is all(check["ok"] for check in facts["checks"])
    return facts | {"checks": {check["check"]: check for check in facts["checks"]}}


@pytest.mark.usefixtures("verifier", "bundled")
def test_an_intact_installation_passes(command: Command) -> None:
    found = checks(command)["checks"]
    assert {"Python", "torch", "diffusers", "devices", "threads", "memory", "model portraits"} <= set(found)
    assert command("doctor").code == 0


def test_a_damaged_model_and_a_missing_package_are_reported(
    command: Command, bundled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (bundled / "vae" / "config.json").unlink()
    monkeypatch.setattr("latentedit.cli.doctor._PACKAGES", ("torch", "no-such-package"))
    found = checks(command, "--no-sample", code=1)["checks"]
    assert [name for name, check in found.items() if not check["ok"]] == ["no-such-package", "model portraits"]
    outcome = command("doctor", "--no-sample")
    assert (outcome.code, outcome.out.splitlines()[-1]) == (1, "problems: no-such-package, model portraits")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("flux") / "dev"
    flux().save_pretrained(place)
    (place / "latentedit.json").write_text(json.dumps({"sizes": [64, 64, 96]}))
    return place


@pytest.mark.nightly
def test_every_part_of_a_model_is_checked(command: Command, folder: Path) -> None:
    facts = checks(command, "--model", folder, "--device", "cpu", code=1)
    failed = [name for name, check in facts["checks"].items() if not check["ok"]]
    assert failed == ["codec"], "its weights are random"
    assert list(facts["checks"]) == LOADED
    assert all(facts["checks"][name]["seconds"] > 0 and facts["checks"][name]["peak_bytes"] > 0 for name in LOADED)
