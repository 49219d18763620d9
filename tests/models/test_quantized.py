"""Quantized weights, with fakes of torchao and bitsandbytes."""

import copy
import re
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

import latentedit as le
from latentedit.core.errors import UnsupportedDerivativeError
from latentedit.geometry.pullback import LocalBasis
from latentedit.models import network
from latentedit.models.derivatives import FeatureJacobian, FeatureMap, Trial, VelocityJacobian
from latentedit.models.probe import probe_velocity
from latentedit.models.weights import weights_digest
from latentedit.numerics.rng import draw
from tests.miniatures.flow import flux, sana
from tests.miniatures.noise import sdxl
from tests.testing.tolerances import relative_error

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


class Packed(nn.Module):
    """A layer whose weights are bytes, which each call turns into floating-point numbers, as in GGUF."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.scale = nn.Buffer(layer.weight.detach().abs().amax(1, keepdim=True) / 127)
        numbers = (layer.weight.detach() / self.scale).round() + 128
        self.weight = nn.Parameter(numbers.to(torch.uint8), requires_grad=False)
        self.bias = layer.bias

    def forward(self, x: Tensor) -> Tensor:
        weight = (self.weight.to(x.dtype) - 128) * self.scale
        return functional.linear(x, weight, self.bias)


class Dropping(torch.autograd.Function):
    """A linear layer that rounds its inputs to 8 bits and returns no gradient of them, as torchao's dynamic one."""

    @staticmethod
    def forward(_: Any, *tensors: Tensor) -> Tensor:
        x, weight, bias = tensors
        grid = x.abs().amax(-1, keepdim=True) / 127
        return functional.linear((x / grid).round() * grid, weight, bias)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> Any:
        return None, None, None


class DroppingLinear(nn.Module):
    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.weight, self.bias = layer.weight, layer.bias

    def forward(self, x: Tensor) -> Any:
        return Dropping.apply(x, self.weight, self.bias)


def replaced(network: nn.Module, kind: Any, *names: str) -> None:
    """Put other layers in place of the linear ones whose names contain one of these, or of all."""
    for name, layer in list(network.named_modules()):
        if isinstance(layer, nn.Linear) and (not names or any(part in name for part in names)):
            above, _, own = name.rpartition(".")
            setattr(network.get_submodule(above), own, kind(layer))


def quantized(kind: type[Int8] | type[Rounding] | type[Packed]) -> Any:
    """FLUX.1 with all linear layers of its denoiser in 8 bits."""
    pipeline = flux()
    network = pipeline.transformer
    if kind is not Int8:
        replaced(network, kind)
    else:
        for layer in network.modules():
            if isinstance(layer, nn.Linear):
                layer.weight = nn.Parameter(Int8(layer.weight.detach()), requires_grad=False)
    return pipeline


@pytest.mark.slow
@pytest.mark.parametrize("kind", [Int8, pytest.param(Rounding, marks=pytest.mark.nightly)])
def test_the_derivatives_of_quantized_pipelines_are_close_to_the_plain_ones(kind: Any) -> None:
    """Forward mode where only weights are rounded; where inputs are, it loses tangents and differences replace it."""
    plain, model = (le.from_pipeline(one, settings=SETTINGS) for one in (flux(), quantized(kind)))
    z, u = draw((2, 1, *model.latent_shape(64, 64)), seed=0, purpose="test")
    s, text = torch.tensor([0.5]), model.embed(["a face"])
    assert (model.velocity(z, s, text) - plain.velocity(z, s, text)).norm() < 0.1 * plain.velocity(z, s, text).norm()
    truth = VelocityJacobian(plain, z, s, text).matvec(u)
    for _ in range(2):  # the second uses the verdicts of the first
        jacobian = VelocityJacobian(model, z, s, text)
        assert (jacobian.matvec(u) - truth).norm() < 0.12 * truth.norm()
        assert jacobian.mode == ("forward" if kind is Int8 else "finite_difference")
        assert bool(re.search(r"used central differences, off by about \d+\.\d%$", jacobian.note)) == (kind is Rounding)
    if kind is Rounding:
        with pytest.raises(UnsupportedDerivativeError, match="wrong"):
            VelocityJacobian(model, z, s, text, mode="forward").matvec(u)


PHOTO = Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8))
"""`basis_of` takes a local basis here; singular values of plain networks are known for it."""


def basis_of(model: Any) -> LocalBasis:
    photo = PHOTO.resize((64, 64), Image.Resampling.BICUBIC)
    latent = le.encode(model, photo, source_prompt="a person with red hair and glasses")
    return le.local_basis(latent, rank=2, level=0.6, steps=6, progress=None)


@pytest.mark.nightly
@pytest.mark.parametrize(("make", "layers", "known"), [(flux, ("ff",), (3.4223, 3.3575)), (sdxl, (), (72.741, 55.56))])
def test_reverse_passes_that_lose_gradients_are_refused(make: Any, layers: Any, known: tuple[float, float]) -> None:
    """Leading singular values, known without them, were up to 70 % off, and called converged."""
    pipeline = make()
    model = le.from_pipeline(pipeline, settings=SETTINGS)
    assert basis_of(model).singular_values.tolist() == pytest.approx(known, rel=1e-3)
    network = pipeline.components[type(model).denoiser]
    before = copy.copy(dict(network.named_modules()))
    replaced(network, DroppingLinear, *layers)
    with pytest.raises(
        UnsupportedDerivativeError, match=r"reverse-mode derivatives of \w+ are wrong.*enable_layerwise_casting"
    ) as error:
        basis_of(model)
    assert "mode=" not in str(error.value), "local_basis has no such parameter"
    assert "vjp" not in model.capabilities.derivatives
    z = draw((2, 1, *model.latent_shape(64, 64)), seed=0, purpose="test")
    at = z[0], torch.tensor([0.5]), model.embed(["a face"])
    jacobian = VelocityJacobian(model, *at)
    with pytest.raises(UnsupportedDerivativeError, match="wrong"):
        jacobian.rmatvec(z[1])
    product = jacobian.matvec(z[1])
    assert "; used central differences, off by about" in jacobian.note
    for path, layer in before.items():
        if isinstance(layer, nn.Linear):
            above, _, own = path.rpartition(".")
            setattr(network.get_submodule(above), own, layer)
    # The step is longer than that of float32, at which rounding is off by a factor.
    assert relative_error(product, VelocityJacobian(model, *at).matvec(z[1])) < 0.1
    assert basis_of(model).singular_values.tolist() == pytest.approx(known, rel=1e-3)
    assert model.capabilities.derivatives == {"jvp", "vjp"}


@pytest.mark.nightly
@pytest.mark.parametrize("make", [sdxl, sana])
def test_local_bases_of_networks_with_fp8_storage(make: Any) -> None:
    """Hooks store weights of convolutions in fp8 again before the reverse pass needs them: equal to rounded weights."""
    pipeline, plain = make(), make()
    model, rounded = (le.from_pipeline(one, settings=SETTINGS) for one in (pipeline, plain))
    network, other = (one.components[type(model).denoiser] for one in (pipeline, plain))
    network.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=torch.float32)
    stored = dict(network.named_parameters())
    with torch.no_grad():
        for name, parameter in other.named_parameters():
            parameter.copy_(parameter.to(stored[name].dtype))
    assert torch.float8_e4m3fn in {part.dtype for part in stored.values()}
    basis, expected = basis_of(model), basis_of(rounded)
    assert basis.note == ""
    assert torch.allclose(basis.singular_values, expected.singular_values, rtol=1e-4)
    u = draw((2, *basis.v.shape[1:]), seed=0, purpose="test")
    made, other = (found.jacobian.matmat(u) for found in (basis, expected))
    assert relative_error(made, other) < 1e-4
    assert relative_error(basis.jacobian.rmatmat(made), expected.jacobian.rmatmat(made)) < 1e-4
    feature = FeatureMap(backbone=model, site=basis.site, level=basis.level, condition=basis.condition)
    double = FeatureJacobian(feature, basis.trace.top, mode="double_backward").matmat(u)
    assert relative_error(double, made) < 1e-5


@pytest.mark.nightly
def test_derivatives_are_tested_once_at_the_smallest_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three evaluations for a kind and one for the other, which count for nobody; again after a change of layers."""
    pipeline = flux()
    model = le.from_pipeline(pipeline, settings={"sizes": [32, 64, 96]})
    feature = FeatureMap(backbone=model, site="velocity", level=0.6, condition=model.embed(["a face"]))
    z, u = draw((2, 1, *model.latent_shape(64, 64)), seed=0, purpose="test")
    calls, velocity = list[tuple[int, int]](), model.velocity

    def watched(z: Tensor, *rest: Any) -> Tensor:
        calls.append((len(z), z.shape[-1]))
        return velocity(z, *rest)

    monkeypatch.setattr(model, "features", lambda z, s, text, site: watched(z, s, text))

    def product() -> list[tuple[int, int]]:
        calls.clear()
        with model.count() as cost:
            jacobian = FeatureJacobian(feature, z)
            jacobian.rmatmat(jacobian.matmat(u))
        assert cost.evaluations == 5 + 6 * is_tried
        return calls

    whole, small, is_tried = z.shape[-1], model.latent_shape(32, 32)[-1], False
    assert product() == [(1, whole), (1, small), (2, small), (1, whole), (1, small), (1, whole)]
    assert product() == [(1, whole)] * 3
    replaced(pipeline.transformer, copy.deepcopy, "proj_out")
    # Not all tests probe the network, in calls of four images, one and one.
    is_tried = network.probe_velocity is probe_velocity
    assert len(product()) == 6


@pytest.mark.slow
def test_edits_by_default_take_no_derivative(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Trial, "check", lambda *_, **__: pytest.fail("a derivative was tested"))
    model = le.from_pipeline(flux(), settings=SETTINGS)
    le.edit(model, PHOTO.resize((64, 64)), source_prompt="a face", prompt="a face with glasses", progress=None)


def test_quantized_weights_have_their_own_fingerprint() -> None:
    """The same for equal weights, another if a scale changes."""
    first, second = quantized(Int8), quantized(Int8)
    models = [le.from_pipeline(one, settings=SETTINGS) for one in (first, second, flux())]
    assert models[0].fingerprint == models[1].fingerprint != models[2].fingerprint
    second.transformer.x_embedder.weight.scale.mul_(2)
    assert models[0].fingerprint != models[1].fingerprint


@pytest.mark.slow
@pytest.mark.parametrize("kind", [Int8, Rounding, Packed])
def test_a_quantized_pipeline_is_edited_and_its_record_names_its_weights(kind: Any) -> None:
    pipeline = quantized(kind)
    model = le.from_pipeline(pipeline, settings=SETTINGS)
    photo = PHOTO.resize((64, 64))
    captions = {"source_prompt": "a face", "prompt": "a face with glasses"}
    edit = le.edit(model, photo, **captions, num_inference_steps=2, progress=None)
    assert model.network_dtype == torch.float32
    assert edit.record.model.fingerprint == model.fingerprint != le.from_pipeline(flux()).fingerprint
    assert edit.image.tobytes() != photo.tobytes()
    assert edit.verdict.text


class Unweighted(nn.LayerNorm):
    """A norm without weights that lists them as None, as quanto's do."""

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination[f"{prefix}weight"] = None


def test_layers_that_list_absent_weights_are_taken() -> None:
    """The parts of their pipeline fit, and their digest is that of the numbers that there are."""
    pipeline = flux()
    norm = pipeline.transformer.transformer_blocks[0].norm2
    assert not norm.elementwise_affine
    norm.__class__ = Unweighted
    assert None in pipeline.transformer.state_dict().values()
    plain = flux().transformer
    assert weights_digest(pipeline.transformer, torch.bfloat16) == weights_digest(plain, torch.bfloat16)
    le.from_pipeline(pipeline)
