"""``latentedit doctor``: checks of this machine and of one model, and exit code 1 if one fails."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from latentedit.editors.eim import EIM
from latentedit.editors.refinement import Refinement
from latentedit.models import placement
from latentedit.models.known import known_models
from latentedit.models.loading import CONFIGURATIONS
from tests.commands import Command
from tests.miniatures.flow import flux

LOADED = ["drawing", "codec", "inversion", "guidance", "derivative", "edit"]
PLACES = ["GPU", "GPU, --placement model", "GPU, --placement groups", "CPU"]
NOT_LOADED = ["text_encoder", "text_encoder_2", "transformer", "vae", "activations", *PLACES, "fits", "command"]
KLEIN = "black-forest-labs/FLUX.2-klein-4B"


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


@pytest.fixture
def light(folder: Path, tmp_path: Path) -> Path:
    """The configurations without the weights."""
    place = tmp_path / "light"
    shutil.copytree(folder, place, ignore=shutil.ignore_patterns("*.safetensors", "tokenizer*"))
    return place


@pytest.mark.nightly
def test_every_part_of_a_model_is_checked(command: Command, folder: Path) -> None:
    facts = checks(command, "--model", folder, "--device", "cpu", code=1)
    failed = [name for name, check in facts["checks"].items() if not check["ok"]]
    assert failed == ["codec"], "its weights are random"
    assert facts["fits"] == {"dtype": "float32", "placement": "resident"}
    assert list(facts["checks"]) == NOT_LOADED + LOADED
    assert all(facts["checks"][name]["seconds"] > 0 and facts["checks"][name]["peak_bytes"] > 0 for name in LOADED)


@pytest.mark.slow
def test_a_hub_id_needs_only_its_configurations(command: Command, light: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    downloads: list[tuple[str, Sequence[str]]] = []

    def download(model_id: str, *, allow_patterns: Sequence[str], **_: Any) -> Path:
        downloads.append((model_id, allow_patterns))
        return light

    monkeypatch.setattr("latentedit.models.registry.download", download)
    found = checks(command, "--model", "org/flux", "--device", "cpu", "--no-sample")["checks"]
    assert downloads == [("org/flux", CONFIGURATIONS)]
    assert list(found) == NOT_LOADED
    facts = checks(command, "--model", light, "--device", "cpu", "--dtype", "bfloat16", "--no-sample")
    assert facts["fits"]["dtype"] == "bfloat16"
    count = sum(part.numel() for part in flux().transformer.parameters())
    assert found["transformer"]["parameters"] == count
    assert found["transformer"]["bytes"] == {"float32": 4 * count, "bfloat16": 2 * count, "fp8 storage": count}
    assert found["vae"]["bytes"]["bfloat16"] == found["vae"]["bytes"]["float32"] == 4 * found["vae"]["parameters"]


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """Free bytes of each kind of device, all of which exist; those of this machine until they are set."""
    sizes, free_bytes = dict[str, float](), placement.free_bytes
    monkeypatch.setattr(
        placement, "free_bytes", lambda device: int(sizes[device.type]) if sizes else free_bytes(device)
    )
    monkeypatch.setattr("latentedit.core.device.existing_device", torch.device)
    return sizes


def test_a_model_that_does_not_load_or_fit_is_reported(command: Command, light: Path, memory: dict[str, float]) -> None:
    assert list(checks(command, "--model", light, "--device", "cpu", code=1)["checks"])[-1] == "load"
    memory["cpu"] = 1000
    facts = checks(command, "--model", light, "--device", "cpu", code=1)
    assert facts["fits"] is None
    assert list(facts["checks"])[-1] == "fits"


def test_known_models_are_described_offline(
    command: Command, unloaded: None, environment: dict[str, str], memory: dict[str, float]
) -> None:
    """With the command for this machine: exact weights, else rounded ones, and smaller models if none fits."""
    environment["HF_HUB_OFFLINE"] = "1"
    memory |= {"cpu": 64e9, "cuda": 24e9}
    gpu = ("--model", KLEIN, "--device", "cuda")
    facts = checks(command, *gpu)
    assert facts["fits"] == {"dtype": "bfloat16", "placement": "resident"}
    needed = facts["checks"]["GPU"]["bytes"]
    assert needed["bfloat16"] - needed["fp8 storage"] == facts["checks"]["transformer"]["parameters"]
    assert facts["checks"]["command"]["found"].endswith(f"{KLEIN} --device cuda --dtype bfloat16 --placement resident")
    cost = facts["checks"]["cost of an edit"]
    assert cost["evaluations"]["eim"] == EIM().search.evaluations(guided=1) + Refinement().evaluations
    assert cost["generation"] == 4
    memory["cuda"] = 21e9
    dev = checks(command, "--model", "black-forest-labs/FLUX.1-Kontext-dev", "--device", "cuda")
    assert dev["fits"] == {"dtype": "bfloat16", "placement": "model", "storage": "fp8"}
    assert dev["checks"]["command"]["found"].endswith("--storage fp8")
    memory["cpu"] = 15e9  # too little for the weights
    found = checks(command, *gpu, code=1)["checks"]
    small = ["stabilityai/stable-diffusion-xl-base-1.0", "stable-diffusion-v1-5/stable-diffusion-v1-5"]
    assert found["fits"]["smaller"] == small


@pytest.mark.slow
@pytest.mark.parametrize("name", known_models())
def test_every_known_model_is_answered_for_offline(
    command: Command, unloaded: None, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr("latentedit.models.registry.download", lambda *_, **__: pytest.fail("a download"))
    monkeypatch.setattr("latentedit.models.placement.free_bytes", lambda _: 10**12)
    found, needs = checks(command, "--model", name)["checks"], known_models()[name].needs
    assert all(found[part]["parameters"] == own.parameters for part, own in needs.parts.items())
