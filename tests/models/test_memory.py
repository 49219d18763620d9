"""Memory needs of a model, computed before it is loaded, and rejection of models that do not fit."""

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from latentedit.core.errors import ModelError
from latentedit.models import placement as placements
from latentedit.models.loading import open_folder, read_index
from latentedit.models.placement import (
    ModelNeeds,
    PartNeeds,
    Placement,
    Policy,
    check_memory,
    model_needs,
    suited_placement,
)
from latentedit.models.registry import load, look_up
from tests.miniatures.flow import flux
from tests.models.folders import folder_with

CPU, GPU = torch.device("cpu"), torch.device("cuda")
FP8 = torch.float8_e4m3fn

FLUX = ModelNeeds(  # FLUX.1, from its configurations; the sums below are by hand
    parts={
        "text_encoder": PartNeeds(kind="CLIPTextModel", parameters=123_060_480, largest_layer=37_945_344),
        "text_encoder_2": PartNeeds(kind="T5EncoderModel", parameters=4_762_310_656, largest_layer=131_596_288),
        "transformer": PartNeeds(kind="FluxTransformer2DModel", parameters=11_901_408_320, largest_layer=56_640_512),
        "vae": PartNeeds(kind="AutoencoderKL", parameters=83_819_683, largest_layer=2_359_808),
    },
    denoiser="transformer",
    half=torch.bfloat16,
    side_px=1024,
    activations=2 * 18 * 4608 * 3072,
    codec_activations=6 * 1024**2 * 128,
)


def on_gpu(policy: Policy = "resident", **settings: Any) -> Placement:
    return Placement(device=GPU, policy=policy, **{"dtype": torch.bfloat16, **settings})


@pytest.fixture
def set_free_memory(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Set the free memory of the CPU and the GPU, in GB."""

    def set_gb(*, cpu: float, cuda: float = 0.0) -> None:
        sizes = {"cpu": int(cpu * 1e9), "cuda": int(cuda * 1e9)}
        monkeypatch.setattr(placements, "free_bytes", lambda device: sizes[device.type])

    return set_gb


@pytest.fixture(scope="module")
def folder_flux(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("flux") / "dev"
    flux().save_pretrained(path)
    return path


def stored(network: nn.Module, module: nn.Module) -> dict[int, int]:
    """Numbers of stored elements of a module, by the address of each tensor."""
    kept = {tensor.data_ptr() for tensor in network.state_dict().values()}
    tensors = [*module.parameters(), *module.buffers()]
    return {tensor.data_ptr(): tensor.numel() for tensor in tensors if tensor.data_ptr() in kept}


@pytest.mark.nightly
@pytest.mark.parametrize("name", ["folder_flux", "folder_with_t5", "folder_sd", "folder_ddpm"])
def test_parameter_counts_match_the_loaded_networks(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """From headers, or from configurations if there are no weights; tied matrices count once."""
    source: Path = request.getfixturevalue(name)
    folder = open_folder(source)
    pipeline = folder.load()
    loaded = {part: getattr(pipeline, part) for part in folder.shapes}
    counted = {part: sum(stored(network, network).values()) for part, network in loaded.items()}
    largest = {
        part: max(sum(stored(network, module).values()) for module in network.modules() if not [*module.children()])
        for part, network in loaded.items()
    }
    shutil.copytree(source, tmp_path / "light", ignore=shutil.ignore_patterns("*.safetensors", "*.txt"))
    for needs in (model_needs(folder), model_needs(read_index(tmp_path / "light"))):
        assert {part: found.parameters for part, found in needs.parts.items()} == counted
        assert {part: found.largest_layer for part, found in needs.parts.items()} == largest
        assert needs.parameters == sum(counted.values())


@pytest.mark.slow
def test_activations_count_the_tokens_of_image_and_text(folder_flux: Path, tmp_path: Path) -> None:
    seen: list[int] = []
    path = folder_with(folder_flux, tmp_path / "small", "latentedit.json", sizes=[64, 96, 128])
    model: Any = load(path, device="cpu")
    single = model._network.single_transformer_blocks[0]
    single.register_forward_hook(lambda _module, _inputs, output: seen.append(sum(part.shape[1] for part in output)))
    condition = model.embed(["a person"])
    model.velocity(torch.zeros(1, *model.latent_shape(96, 96)), torch.tensor([0.5]), condition)
    needs = model_needs(open_folder(path))
    assert needs.side_px == 96
    layers = [sum(part.numel() for part in one.parameters(recurse=False)) for one in model._network.modules()]
    assert needs.parts["transformer"].largest_layer == max(layers)
    assert needs.activations == 2 * 18 * seen[-1] * model._network.inner_dim, (
        "two rows, eighteen tensors for each token"
    )
    assert needs.codec_activations == 6 * 96**2 * 4


def test_weight_bytes_by_policy_dtype_and_storage() -> None:
    """By hand: two bytes a parameter, four in the VAE, one in fp8; of all parts, one part or one layer."""
    others, denoiser, vae = 2 * (123_060_480 + 4_762_310_656), 2 * 11_901_408_320, 4 * 83_819_683
    for placement, expected in (
        (on_gpu(), others + denoiser + vae),
        (on_gpu("model"), denoiser),
        (on_gpu("groups"), 2 * 131_596_288),
        (on_gpu(storage=FP8), others + denoiser // 2 + vae),
        (on_gpu("model", storage=FP8), denoiser // 2),
        (Placement(device=CPU, dtype=torch.float32, policy="groups"), 2 * (others + denoiser) + vae),
    ):
        assert FLUX.weight_bytes(placement) == expected
    # activations of the codec, six float32 tensors of a megapixel and 128 channels, or of the denoiser
    assert FLUX.activation_bytes(on_gpu()) == 6 * 1024**2 * 128 * 4
    assert dataclasses.replace(FLUX, codec_activations=1).activation_bytes(on_gpu()) == 2 * 18 * 4608 * 3072 * 2


@pytest.mark.parametrize(
    ("free_gb", "storage", "policy"),
    [(40, None, "resident"), (30, None, "model"), (30, FP8, "resident"), (16, FP8, "model"), (16, None, "groups")],
)
def test_the_fastest_policy_that_fits_is_chosen(
    free_gb: float, storage: torch.dtype | None, policy: Policy, set_free_memory: Callable[..., None]
) -> None:
    placement = on_gpu(storage=storage)
    set_free_memory(cpu=1000, cuda=free_gb)
    assert suited_placement(FLUX, placement) == dataclasses.replace(placement, policy=policy)
    set_free_memory(cpu=1000, cuda=1)
    assert suited_placement(FLUX, placement) is None
    set_free_memory(cpu=33, cuda=1000)
    on_cpu = dataclasses.replace(placement, device=CPU, storage=None)
    assert suited_placement(FLUX, on_cpu) is None, "offloading to the same memory saves none"


@pytest.mark.slow
def test_models_are_rejected_before_their_weights_are_read(
    folder_flux: Path, set_free_memory: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = model_needs(open_folder(folder_flux)).weight_bytes(Placement(device=CPU, dtype=torch.float32))
    set_free_memory(cpu=needed / 1e9 + 1e-6)
    assert load(folder_flux, device="cpu").name == "dev"
    monkeypatch.setattr("latentedit.models.loading.ModelFolder.load", lambda *_: pytest.fail("loaded"))
    set_free_memory(cpu=needed / 1e9 - 1e-6)
    with pytest.raises(ModelError):
        load(folder_flux, device="cpu")


def test_absurd_configurations_are_rejected_before_their_networks_are_built(folder_sd: Path, tmp_path: Path) -> None:
    """These would take minutes, and there are no weights to compare them with."""
    folder = folder_with(folder_sd, tmp_path / "sd", "unet/config.json", layers_per_block=3000)
    with pytest.raises(ModelError, match="layers_per_block is 3,000"):
        look_up(folder)


def test_models_that_do_not_fit_are_rejected_with_an_alternative(set_free_memory: Callable[..., None]) -> None:
    """Weights pass through CPU memory on every device."""
    float32, half = (Placement(device=CPU, dtype=dtype) for dtype in (torch.float32, torch.bfloat16))
    for cpu, cuda, fits, too_large, message in (
        (64, 30, on_gpu("model"), on_gpu(), r"33\.9 GB.*cuda.*bfloat16.*30 GB.*'model'"),
        (64, 8, on_gpu("groups"), on_gpu("model"), "bfloat16.*groups"),
        (20, 100, None, on_gpu(storage=FP8), r"33\.9 GB.*cpu.*20 GB"),
        (40, 0, half, float32, r"67\.5 GB.*cpu.*float32.*'bfloat16'.*'res"),
    ):
        set_free_memory(cpu=cpu, cuda=cuda)
        if fits is not None:
            check_memory(FLUX, fits, name="flux")
        with pytest.raises(ModelError, match=message):
            check_memory(FLUX, too_large, name="flux")
