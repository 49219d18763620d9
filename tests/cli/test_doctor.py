"""``latentedit doctor``: checks of this machine, and exit code 1 if one fails."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.commands import Command


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
