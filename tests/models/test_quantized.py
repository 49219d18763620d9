"""Quantized weights, with fakes of torchao and bitsandbytes; `tools/quantized.py` uses the real ones."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

import latentedit as le
from latentedit.core.errors import ConfigError, ModelError, UnsupportedDerivativeError
from latentedit.core.rng import draw
from latentedit.models.derivatives import VelocityJacobian
from latentedit.models.registry import load
from tests.miniatures.flow import flux

SETTINGS = {"sizes": [64, 64, 96]}


class Int8(Tensor):
    """A weight made of other tensors, which supports no operator but a linear layer."""

    @staticmethod
    def __new__(cls: Any, weight: Tensor) -> "Int8":
        return Tensor._make_wrapper_subclass(cls, weight.shape, dtype=weight.dtype)

    def __init__(self, weight: Tensor) -> None:
        self.scale = weight.abs().amax(1, keepdim=True) / 127
        self.numbers = (weight / self.scale).round().to(torch.int8)

    def __tensor_flatten__(self) -> tuple[list[str], None]:
        return ["numbers", "scale"], None

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function is functional.linear:
            x, weight, *bias = args
            return functional.linear(x, weight.numbers * weight.scale, *bias)
        return super().__torch_function__(function, types, args, kwargs or {})

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function is torch.ops.aten.detach.default:
            return args[0]
        raise NotImplementedError(f"Int8 dispatch: {function}")


class Rounding(nn.Module):
    """A layer of 8-bit weights that rounds its inputs, too, and passes no tangents."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.scale = nn.Buffer(layer.weight.detach().abs().amax(1, keepdim=True) / 127)
        self.weight = nn.Parameter((layer.weight / self.scale).round().to(torch.int8), requires_grad=False)
        self.bias = layer.bias

    def forward(self, x: Tensor) -> Tensor:
        grid = x.detach().abs().amax() / 127
        return functional.linear((x / grid).round() * grid, self.weight * self.scale, self.bias)


def quantized(kind: type[Int8] | type[Rounding]) -> Any:
    """FLUX.1 with all linear layers of its denoiser in 8 bits."""
    pipeline = flux()
    network = pipeline.transformer
    for name, layer in list(network.named_modules()):
        if isinstance(layer, nn.Linear) and kind is Int8:
            layer.weight = nn.Parameter(Int8(layer.weight.detach()), requires_grad=False)
        elif isinstance(layer, nn.Linear):
            above, _, own = name.rpartition(".")
            setattr(network.get_submodule(above), own, Rounding(layer))
    return pipeline


@pytest.mark.parametrize("kind", [Int8, Rounding])
def test_quantized_pipelines_are_differentiated_by_differences(kind: Any) -> None:
    """Forward mode is rejected where tangents may be lost; the default is within 12 % in spite of rounding."""
    plain, model = (le.from_pipeline(one, settings=SETTINGS) for one in (flux(), quantized(kind)))
    z, u = draw((2, 1, *model.latent_shape(64, 64)), seed=0, purpose="test")
    s, text = torch.tensor([0.5]), model.embed(["a face"])
    assert (model.velocity(z, s, text) - plain.velocity(z, s, text)).norm() < 0.1 * plain.velocity(z, s, text).norm()
    truth = VelocityJacobian(plain, z, s, text).matvec(u)
    jacobian = VelocityJacobian(model, z, s, text)
    assert (jacobian.matvec(u) - truth).norm() < 0.12 * truth.norm()
    assert jacobian.mode == "finite_difference"
    with pytest.raises(UnsupportedDerivativeError):
        VelocityJacobian(model, z, s, text, mode="forward")


def test_quantized_weights_have_their_own_fingerprint() -> None:
    """The same for equal weights, another if a scale changes."""
    first, second = quantized(Int8), quantized(Int8)
    models = [le.from_pipeline(one, settings=SETTINGS) for one in (first, second, flux())]
    assert models[0].fingerprint == models[1].fingerprint != models[2].fingerprint
    second.transformer.x_embedder.weight.scale.mul_(2)
    assert models[0].fingerprint != models[1].fingerprint


class Unweighted(nn.LayerNorm):
    """A norm without weights that lists them as None, as quanto's do."""

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination[f"{prefix}weight"] = None


def test_layers_that_list_absent_weights_are_taken() -> None:
    """The parts of their pipeline fit, and its fingerprint is that of the numbers that there are."""
    pipeline = flux()
    norm = pipeline.transformer.transformer_blocks[0].norm2
    assert not norm.elementwise_affine
    norm.__class__ = Unweighted
    assert None in pipeline.transformer.state_dict().values()
    assert le.from_pipeline(pipeline).fingerprint == le.from_pipeline(flux()).fingerprint


def test_fp8_storage_by_name_matches_a_live_pipeline(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    flux().save_pretrained(folder)
    model: Any = load(folder, device="cpu", storage="fp8")
    live = flux()
    live.transformer.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=torch.float32)
    assert torch.float8_e4m3fn in {part.dtype for part in model.pipeline.transformer.parameters()}
    assert model.fingerprint == le.from_pipeline(live).fingerprint
    with pytest.raises(ConfigError):
        load(folder, device="cpu", storage="fp9")


def test_a_single_file_replaces_the_denoiser(tmp_path: Path) -> None:
    """The folder needs no weights of its own. A file of another network is rejected."""
    folder, file = tmp_path / "model", tmp_path / "tuned.safetensors"
    pipeline = flux()
    pipeline.save_pretrained(folder)
    (weights,) = (folder / "transformer").glob("*.safetensors")
    tuned = {name: 1.5 * tensor for name, tensor in load_file(weights).items()}
    save_file(tuned, file)
    before = load(folder, device="cpu")
    weights.unlink()
    model: Any = load(folder, device="cpu", denoiser=file)
    assert model.fingerprint != before.fingerprint
    loaded = model.pipeline.transformer.state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in tuned.items())
    tuned.pop(next(iter(tuned)))
    save_file(tuned, file)
    with pytest.raises(ModelError):
        load(folder, device="cpu", denoiser=file)
    with pytest.raises(ModelError):
        load(folder, device="cpu", denoiser=tmp_path / "absent.gguf")
