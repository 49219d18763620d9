"""Names, folders and hub ids."""

import importlib.metadata
import shutil
from pathlib import Path

import diffusers
import pytest
import torch
import transformers

from latentedit.core.errors import ModelError, RegistryError
from latentedit.core.plugins import BACKBONES
from latentedit.models import registry
from latentedit.models.base import Backbone
from latentedit.models.loading import ModelFolder
from latentedit.models.placement import Placement
from latentedit.testing.gaussian_mixture import example_mixture
from tests.carried import carry


@pytest.fixture
def bundle(folder_without_t5: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(folder_without_t5, tmp_path / "models" / "tiny")
    (tmp_path / "models" / "not-a-model").mkdir()
    carry(monkeypatch, tmp_path / "models")
    return tmp_path / "models"


def test_every_pipeline_with_an_adapter_says_what_it_is_made_of() -> None:
    """Of classes that diffusers and transformers have; U-Nets run on the betas of any scheduler that DDIM replaces."""
    replaced = {str(getattr(kind, "name", kind)) for kind in vars(diffusers.DDIMScheduler)["_compatibles"]}
    for pipeline in ("StableDiffusion3Pipeline", "StableDiffusionPipeline", "DDPMPipeline"):
        adapter = BACKBONES.load(pipeline)
        assert hasattr(diffusers, pipeline)
        for part, classes in adapter.parts.items():
            assert [name for name in classes if hasattr(diffusers, name) or hasattr(transformers, name)], part
        assert set(adapter.parts) >= adapter.optional_parts
        if "unet" in adapter.parts:
            assert set(adapter.parts["scheduler"]) <= replaced


def test_what_is_not_there_is_named(bundle: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An unknown name with the nearest, a folder, and a single file."""
    with pytest.raises(RegistryError, match="did you mean 'tiny'"):
        registry.load("tini")
    for place in ("./nowhere", "/nowhere/at/all", Path("nowhere")):
        with pytest.raises(ModelError, match="nowhere"):
            registry.load(place)
    with pytest.raises(ModelError, match="is a file"):
        registry.load(bundle / "tiny" / "model_index.json")
    carry(monkeypatch, tmp_path / "none")
    assert registry.bundled_names() == []
    with pytest.raises(RegistryError, match=r"pip install \./packages/portraits"):
        registry.load("portraits")


@pytest.mark.slow
def test_folders_by_string_and_path_agree(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert registry.bundled_names() == ["tiny"]
    assert registry.bundled_folder("tiny") == bundle / "tiny"
    by_path = registry.load(bundle / "tiny", device="cpu")
    by_text = registry.load(str(bundle / "tiny"), device="cpu")
    assert by_path.name == by_text.name == "tiny"
    assert by_path.fingerprint == by_text.fingerprint
    monkeypatch.chdir(bundle)
    assert registry.load("./tiny", device="cpu").fingerprint == by_path.fingerprint
    assert registry.weights_fingerprint("./tiny") == registry.weights_fingerprint("tiny") == by_path.fingerprint


class Strange:
    """A backbone of somebody else, whose folder needs no more than its name."""

    parts, optional_parts, half = Backbone.parts, Backbone.optional_parts, Backbone.half

    @staticmethod
    def from_folder(folder: ModelFolder, *, name: str, placement: Placement) -> Backbone:
        assert placement.dtype == torch.float32
        made = example_mixture()
        made.name = f"{folder.pipeline} in {name}"
        return made


def test_a_strangers_backbone_opens_its_own_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text('{"_class_name": "StrangePipeline"}')
    with pytest.raises(ModelError, match="holds a StrangePipeline, which is not supported"):
        registry.load(tmp_path)
    point = importlib.metadata.EntryPoint("StrangePipeline", f"{__name__}:Strange", BACKBONES.group)
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: importlib.metadata.EntryPoints([point]))
    assert registry.load(tmp_path).name == f"StrangePipeline in {tmp_path.name}"
