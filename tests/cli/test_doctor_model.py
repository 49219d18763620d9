"""``latentedit doctor --model``: what a model needs before it is loaded, and what it does then."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from latentedit.models.hub import CONFIGURATIONS
from latentedit.testing.miniatures.flow import flux
from tests.commands import Command

TRIED = ["drawing", "codec", "inversion", "guidance", "derivative", "edit"]
KNOWN = ["text_encoder", "text_encoder_2", "transformer", "vae", "at work", "fits"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("flux") / "dev"
    flux().save_pretrained(place)
    (place / "latentedit.json").write_text(json.dumps({"sizes": [64, 64, 96]}))
    return place


@pytest.fixture
def light(folder: Path, tmp_path: Path) -> Path:
    """The configurations without the weights."""
    place = tmp_path / "light"
    shutil.copytree(folder, place, ignore=shutil.ignore_patterns("*.safetensors", "tokenizer*"))
    return place


@pytest.mark.nightly
def test_every_part_of_a_model_is_tried(command: Command, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = command("doctor", "--model", folder, "--device", "cpu")
    assert (outcome.code, outcome.out.splitlines()[-1]) == (1, "to be mended: codec"), "its weights are random"
    monkeypatch.setattr("latentedit.editing.checkup.LEAST_PSNR_DB", 0.0)
    outcome = command("doctor", "--model", folder, "--device", "cpu", "--json")
    assert outcome.code == 0
    facts = json.loads(outcome.out)
    assert facts["ok"] is True
    assert facts["fits"] == {"dtype": "float32", "placement": "resident"}
    assert [check["check"] for check in facts["checks"]] == KNOWN + TRIED
    assert all(check["seconds"] > 0 and check["peak_bytes"] > 0 for check in facts["checks"][len(KNOWN) :])


@pytest.mark.slow
def test_a_hub_id_needs_its_configurations_alone(
    command: Command, light: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Sequence[str]] = []

    def download(model_id: str, *, wanted: Sequence[str], **_: Any) -> Path:
        assert model_id == "org/flux"
        asked.append(wanted)
        return light

    monkeypatch.setattr("latentedit.models.registry.download", download)
    outcome = command("doctor", "--model", "org/flux", "--device", "cpu", "--no-sample", "--json")
    assert outcome.code == 0
    assert asked == [CONFIGURATIONS]
    checks = {check["check"]: check for check in json.loads(outcome.out)["checks"]}
    assert list(checks) == KNOWN
    transformer = sum(part.numel() for part in flux().transformer.parameters())
    assert checks["transformer"]["parameters"] == transformer
    assert checks["transformer"]["bytes"] == {
        "float32": 4 * transformer,
        "bfloat16": 2 * transformer,
        "fp8 storage": transformer,
    }
    assert checks["vae"]["bytes"]["bfloat16"] == checks["vae"]["bytes"]["float32"] == 4 * checks["vae"]["parameters"]


def test_what_does_not_fit_is_not_loaded(command: Command, light: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("latentedit.models.memory.free_bytes", lambda device: 1000)
    monkeypatch.setattr("latentedit.models.registry.load", lambda *_, **__: pytest.fail("loaded"))
    outcome = command("doctor", "--model", light, "--device", "cpu")
    assert outcome.code == 1
    assert "with 0.001 MB free on cpu. Use a smaller model" in outcome.out
    assert outcome.out.splitlines()[-1] == "to be mended: fits"


def test_a_model_that_does_not_load_is_a_finding(command: Command, light: Path) -> None:
    outcome = command("doctor", "--model", light, "--device", "cpu")
    assert outcome.code == 1
    assert outcome.out.splitlines()[-1] == "to be mended: load"
    assert "Download or copy the folder again" in outcome.out
