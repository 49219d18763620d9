"""Models by name and folder, of other libraries, and from functions."""

import contextlib
import inspect
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from PIL import Image

import latentedit as le
from latentedit.core.errors import ConfigError, ModelError, RegistryError
from latentedit.core.plugins import BACKBONES
from latentedit.editors import FlowEdit
from latentedit.models import registry
from latentedit.models.base import Backbone
from latentedit.models.families.sd3 import StableDiffusion3Backbone
from latentedit.numerics.rng import seeded
from latentedit.testing.contracts.backbone import BackboneContract
from tests.carried import carry
from tests.editors.colors import ColorBackbone
from tests.models.folders import folder_with
from tests.testing.gaussian_mixture import example_mixture


@pytest.fixture
def bundle(folder_without_t5: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(folder_without_t5, tmp_path / "models" / "tiny")
    (tmp_path / "models" / "not-a-model").mkdir()
    carry(monkeypatch, tmp_path / "models")
    return tmp_path / "models"


def test_every_family_lists_the_parts_of_its_pipelines() -> None:
    """In diffusers, the denoiser of these pipelines is the registered network."""
    for network in BACKBONES.names():
        assert hasattr(diffusers, network)
        adapter = BACKBONES.load(network)
        for pipeline in adapter.pipelines:
            kind = getattr(diffusers, pipeline)
            modular = getattr(diffusers, kind.default_blocks_name)() if hasattr(kind, "default_blocks_name") else None
            accepted = modular.component_names if modular else inspect.signature(kind.__init__).parameters
            assert {*accepted} >= {*adapter.parts, adapter.denoiser, "scheduler"}
        assert set(adapter.parts) >= {adapter.denoiser, *adapter.optional_parts}


def test_missing_models_are_rejected(bundle: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Unknown names, with the nearest one, missing folders, and single files."""
    with pytest.raises(RegistryError, match="tiny"):
        registry.load("tini")
    for path in ("./nowhere", "/nowhere/at/all", Path("nowhere")):
        with pytest.raises(ModelError):
            registry.load(path)
    with pytest.raises(ModelError):
        registry.load(bundle / "tiny" / "model_index.json")
    carry(monkeypatch, tmp_path / "none")
    assert registry.bundled_names() == []
    with pytest.raises(RegistryError):
        registry.load("portraits")


@pytest.mark.slow
def test_folders_by_string_and_path_agree(bundle: Path) -> None:
    assert registry.bundled_names() == ["tiny"]
    assert registry.bundled_folder("tiny") == bundle / "tiny"
    by_path = registry.load(bundle / "tiny", device="cpu")
    by_text = registry.load(str(bundle / "tiny"), device="cpu")
    assert by_path.name == by_text.name == "tiny"
    assert by_path.fingerprint == by_text.fingerprint
    with contextlib.chdir(bundle):
        assert registry.load("./tiny", device="cpu").fingerprint == by_path.fingerprint


def test_a_folder_of_something_else_hides_no_bundled_model(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Installed or not: "portraits" is also what people call a folder of images."""
    (tmp_path / "here/portraits").mkdir(parents=True)
    (tmp_path / "here/tiny").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert registry.locate("tiny") == ("tiny", bundle / "tiny")
    with pytest.raises(RegistryError, match="portraits is not installed"):
        registry.load("portraits")
    with pytest.raises(ModelError, match=r"model_index\.json"):
        registry.load(Path("portraits"))
    shutil.copytree(bundle / "tiny", "portraits", dirs_exist_ok=True)
    assert registry.locate("portraits") == ("portraits", Path("portraits"))


class OwnBackbone(StableDiffusion3Backbone):
    """Registered for the class of a pipeline, whose denoiser is of another family."""


@pytest.mark.slow_except("NebulaPipeline")
@pytest.mark.parametrize("stored", ["NebulaPipeline", "StableDiffusion3Img2ImgPipeline"])
def test_a_backbone_of_a_pipeline_class_loads_its_folders(
    register: Callable[..., None], folder_without_t5: Path, tmp_path: Path, stored: str
) -> None:
    """Diffusers lacks the first class, and its adapter loads the second as another one; also after a change."""
    folder = folder_with(folder_without_t5, tmp_path / "model", "model_index.json", _class_name=stored)
    register("backbones", **{stored: f"{__name__}:OwnBackbone"})
    model: Any = registry.load(folder, device="cpu")
    assert type(model) is OwnBackbone
    model.pipeline.scheduler = type(model.pipeline.scheduler).from_config(model.pipeline.scheduler.config, shift=5.0)
    assert model.grid(3).levels != registry.load(folder, device="cpu").grid(3).levels
    assert type(model) is OwnBackbone


class ExternalNetwork(torch.nn.Linear):
    """A network of another library."""

    device = torch.device("cpu")


class ExternalPipeline:
    def __init__(self, network: torch.nn.Module) -> None:
        self.network = network

    @property
    def components(self) -> dict[str, Any]:
        return {"network": self.network}


class External:
    """Its adapter."""

    parts, optional_parts, half, denoiser = ("network",), Backbone.optional_parts, Backbone.half, "network"
    pipelines = ()

    @classmethod
    def of(cls, config: Any) -> type["External"]:
        return cls

    def __new__(cls, pipeline: ExternalPipeline, *, name: str, **facts: Any) -> Backbone:
        model = example_mixture()
        model.name, model.fingerprint = f"{name} of {len(list(pipeline.network.parameters()))}", ""
        return model


def test_a_network_of_another_library_has_its_own_adapter(register: Callable[..., None], tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text(
        '{"_class_name": "ExternalPipeline", "network": ["strange", "ExternalNetwork"]}'
    )
    with pytest.raises(ModelError):
        registry.load(tmp_path)
    register("backbones", ExternalNetwork=f"{__name__}:External")
    models = [le.from_pipeline(ExternalPipeline(seeded(s)(ExternalNetwork)(2, 2)), name="mine") for s in (0, 0, 1)]
    assert models[0].name == "mine of 2"
    assert models[0].fingerprint == models[1].fingerprint != models[2].fingerprint


class TestContract(BackboneContract):
    texts = ("a", "b")

    @pytest.fixture(scope="class")
    def backbone(self) -> Backbone:
        """The functions of the analytic mixture, whose answers are known."""
        return as_functions(example_mixture())


def test_models_from_functions_edit_images() -> None:
    colors = ColorBackbone(sizes=(4, 8, 12))
    model = as_functions(colors, encode=colors.encode, decode=colors.decode, name="mine")
    image = Image.new("RGB", (8, 8), (90, 90, 90))
    edits = [
        le.edit(one, image, source_prompt="red", prompt="blue", method=FlowEdit(steps=3)) for one in (model, colors)
    ]
    assert edits[0].image.tobytes() == edits[1].image.tobytes() != image.tobytes()


def as_functions(model: Any, **more: Any) -> le.CallableBackbone:
    """A model made of the functions of another one."""
    known = {name: getattr(model, name) for name in ("velocity", "embed", "latent_shape", "capabilities", "dtype")}
    return le.CallableBackbone(**known | more)


def small_device(max_rows: int) -> tuple[le.CallableBackbone, list[int]]:
    """A model on a device with memory for ``max_rows`` rows, and the rows of each attempted call."""
    mixture, tried = example_mixture(), list[int]()

    def velocity(z: torch.Tensor, s: torch.Tensor, condition: le.Condition) -> torch.Tensor:
        tried.append(len(z))
        if len(z) > max_rows:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has 8 GiB")
        return mixture.velocity(z, s, condition)

    return as_functions(mixture, velocity=velocity), tried


def rows(model: Backbone, count: int) -> tuple[torch.Tensor, torch.Tensor, le.Condition]:
    """Different latents, levels and texts."""
    generator = torch.Generator().manual_seed(count)
    z = torch.randn(count, *model.latent_shape(8, 8), generator=generator, dtype=model.dtype)
    return z, torch.linspace(0.2, 0.9, count, dtype=model.dtype), model.embed(["ab"[i % 2] for i in range(count)])


def test_batches_too_large_for_the_device_are_split() -> None:
    """Every row is evaluated once, in order; the next call starts with the size that fits."""
    mixture = example_mixture()
    model, tried = small_device(3)
    z, s, condition = rows(model, 11)
    with model.count() as cost:
        found = model.velocity(z, s, condition)
    assert torch.allclose(found, mixture.velocity(z, s, condition), rtol=1e-12, atol=0)
    assert tried == [11, 6, 3, 3, 3, 2]
    assert cost.evaluations == 11
    tried.clear()
    model.velocity(z, s, condition)
    assert tried == [3, 3, 3, 2]
    assert torch.equal(model.velocity(*rows(model, 2)), mixture.velocity(*rows(model, 2))), (
        "small batches are not split"
    )
    model, tried = small_device(0)
    with pytest.raises(torch.OutOfMemoryError):
        model.velocity(*rows(model, 4))
    assert tried == [4, 2, 1]
    assert not model.capabilities.pixels
    with pytest.raises(ConfigError):
        model.decode(torch.zeros(1, *mixture.latent_shape(1, 1)))
