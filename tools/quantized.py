"""Writes docs/quantized.md: edits and derivatives of live pipelines with quantized weights, measured on a miniature.

The packages are not among the requirements: pip install gguf bitsandbytes optimum-quanto torchao. On a machine without
a GPU, diffusers does not load with bitsandbytes, so its layers are put in place of the linear ones by hand.

python -m tools.quantized
"""

import importlib
import importlib.metadata
import math
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

import latentedit as le
from latentedit.core.errors import UnsupportedDerivativeError
from latentedit.models.derivatives import VelocityJacobian
from latentedit_keep.base.files import write_text
from tests.miniatures.flow import flux
from tools.running import ROOT

PAGE = ROOT / "docs" / "quantized.md"
SIDE = 64
GGUF_BLOCK, BITS4_BLOCK = 32, 64  # inputs of a layer that the formats take in multiples of this

Made = Callable[[nn.Linear], nn.Module | None]


def replaced(network: nn.Module, make: Made) -> float:
    """Put other layers in place of the linear ones; the share of their weights."""
    linear = {name: layer for name, layer in network.named_modules() if isinstance(layer, nn.Linear)}
    done = 0
    for name, layer in linear.items():
        if (new := make(layer)) is not None:
            above, _, own = name.rpartition(".")
            setattr(network.get_submodule(above), own, new.requires_grad_(False))
            done += layer.weight.numel()
    return done / sum(layer.weight.numel() for layer in linear.values())


def _has_bias(layer: Any) -> bool:
    return layer.bias is not None


def bitsandbytes(layer: nn.Linear, *, bits: int) -> nn.Module | None:
    layers: Any = importlib.import_module("bitsandbytes.nn")
    if bits == 4 and layer.in_features % BITS4_BLOCK:
        return None
    kind: Any = layers.Linear4bit if bits == 4 else layers.Linear8bitLt
    more: Any = {"quant_type": "nf4"} if bits == 4 else {"has_fp16_weights": False}
    new = kind(layer.in_features, layer.out_features, _has_bias(layer), **more)
    new.load_state_dict(layer.state_dict())
    return new.to("cpu").eval()


def gguf(layer: nn.Linear, *, kind: str) -> nn.Module | None:
    format_: Any = importlib.import_module("gguf")
    layers: Any = importlib.import_module("diffusers.quantizers.gguf.utils")
    if layer.in_features % GGUF_BLOCK:
        return None
    sort = format_.GGMLQuantizationType[kind]
    numbers = torch.from_numpy(format_.quants.quantize(layer.weight.detach().numpy(), sort))
    new = layers.GGUFLinear(layer.in_features, layer.out_features, _has_bias(layer), compute_dtype=torch.float32)
    new.weight = layers.GGUFParameter(numbers, quant_type=sort)
    new.bias = layer.bias
    return new


def torchao(network: nn.Module, *, config: str, layers: str = "") -> float:
    """Layers whose names contain a word; if all of them round their inputs, nothing depends on the latent any more."""
    package: Any = importlib.import_module("torchao.quantization")
    linear = {name: layer for name, layer in network.named_modules() if isinstance(layer, nn.Linear)}
    chosen = [layer for name, layer in linear.items() if layers in name]
    share = sum(layer.weight.numel() for layer in chosen) / sum(layer.weight.numel() for layer in linear.values())
    package.quantize_(
        network, getattr(package, config)(), filter_fn=lambda layer, _: any(layer is one for one in chosen)
    )
    return share


def quanto(network: nn.Module) -> float:
    package: Any = importlib.import_module("optimum.quanto")
    package.quantize(network, weights=package.qint8)
    package.freeze(network)
    return 1.0


def fp8(network: Any) -> float:
    network.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=torch.float32)
    return 1.0


WAYS: dict[str, tuple[str, Callable[[Any], float]]] = {
    "fp8 storage": ("`--storage fp8`, diffusers", fp8),
    "torchao int8": ("weights only", lambda network: torchao(network, config="Int8WeightOnlyConfig")),
    "torchao int8, dynamic": (
        "weights and inputs, layers `ff`",
        lambda network: torchao(network, config="Int8DynamicActivationInt8WeightConfig", layers="ff"),
    ),
    "quanto int8": ("weights only", quanto),
    "GGUF Q8_0": ("layers of diffusers", lambda network: replaced(network, lambda one: gguf(one, kind="Q8_0"))),
    "GGUF Q4_0": ("layers of diffusers", lambda network: replaced(network, lambda one: gguf(one, kind="Q4_0"))),
    "bitsandbytes 8 bits": ("layers put in by hand", lambda net: replaced(net, lambda one: bitsandbytes(one, bits=8))),
    "bitsandbytes 4 bits": ("layers put in by hand", lambda net: replaced(net, lambda one: bitsandbytes(one, bits=4))),
}


class Tried:
    """A miniature of FLUX.1 with quantized weights."""

    def __init__(self, way: str | None) -> None:
        pipeline = flux()
        self.share = WAYS[way][1](pipeline.transformer) if way else 0.0
        self.model = le.from_pipeline(pipeline, settings={"sizes": [SIDE, SIDE, 96]})
        self.before = self.model.fingerprint
        draw = np.random.default_rng(0)
        photo = Image.fromarray(draw.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8))
        shape = (2, 1, *self.model.latent_shape(SIDE, SIDE))
        self.z, self.u = torch.from_numpy(draw.normal(size=shape)).float()
        texts: Any = {"source_prompt": "a face", "prompt": "a face with glasses"}
        self.image = le.edit(self.model, photo, **texts, method="flowedit").image

    def product(self, mode: Any) -> tuple[VelocityJacobian, Tensor]:
        """A Jacobian-vector product of the velocity."""
        jacobian = VelocityJacobian(self.model, self.z, torch.tensor([0.5]), self.model.embed(["a face"]), mode=mode)
        return jacobian, jacobian.matvec(self.u)

    def transpose(self) -> str:
        """How far ``<w, J u> = <J^T w, u>`` is off with w = J u by differences, or that there is no transpose."""
        jacobian, w = self.product("finite_difference")
        try:
            back = jacobian.rmatvec(w)
        except UnsupportedDerivativeError:
            return "refused"
        return f"{100 * abs(1 - float((back * self.u).sum() / w.square().sum())):.1f} %"


def error(found: Tensor, truth: Tensor) -> str:
    return f"{100 * float((found - truth).norm() / truth.norm()):.1f} %"


def row(way: str, plain: Tried) -> str:
    """A line of the table."""
    tried = Tried(way)
    pixels = np.asarray(tried.image, float) - np.asarray(plain.image, float)
    psnr = 10 * math.log10(255**2 / max(float((pixels**2).mean()), 1e-9))
    jacobian, _ = tried.product(None)
    cells: list[str] = []
    for mode in ("forward", "double_backward", "finite_difference"):
        try:
            cells.append(error(tried.product(mode)[1], plain.product("double_backward")[1]))
        except UnsupportedDerivativeError:
            cells.append("refused")
    again = subprocess.run([sys.executable, "-m", "tools.quantized", way], capture_output=True, text=True, check=True)
    fingerprints = {tried.before, tried.model.fingerprint, again.stdout.split()[-1]}
    stable = "one" if len(fingerprints) == 1 else f"{len(fingerprints)} different"
    names = [way, WAYS[way][0], f"{100 * tried.share:.0f} %", f"{psnr:.1f}", jacobian.mode.replace("_", " "), *cells]
    names += [tried.transpose(), stable]
    return f"| {' | '.join(names)} |"


HEAD = """\
# Quantized weights

`latentedit.from_pipeline` takes a pipeline with quantized weights as it is, and `latentedit.load(..., storage="fp8")`,
or `--storage fp8`, stores the layers of the denoiser in 8 bits. `latentedit.load(folder, denoiser="FILE.gguf")`, or
`--denoiser FILE.gguf`, takes the denoiser from a single file, offline: GGUF (needs gguf and accelerate), which stays
quantized, or safetensors, in any format that diffusers converts; the other networks are those of the folder.

Written by `python -m tools.quantized`: a miniature of FLUX.1 with random weights, on a CPU, {versions}.

*Edit*: PSNR in dB between the edits of the quantized and of the plain pipeline, by `flowedit` from one seed. *Default*:
how products with the Jacobian of the velocity are computed where no mode is named. The errors are those against the
Jacobian of the plain network, so they include what the quantization itself changes. *Transpose*: how far
`<w, J u> = <J^T w, u>` is off, with `w = J u` by differences; local bases need it. *Fingerprint*: before and after an
edit, and in another process.

| weights | how | share | edit, dB | default | forward | two reverse passes | differences | transpose | fingerprint |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
"""

TAIL = """
- Layers that round their inputs drop tangents and gradients, most of them without an error, as those of bitsandbytes
  do on some processors. So before the first product of a kind, one is compared with central differences at the smallest
  size (three to five evaluations). A kind that disagrees is refused, also in local bases; where there is another exact
  one it is used instead, else differences, with a note of the reason and of their error.
- `storage="fp8"` works for all families: of U-Nets and Sana, reverse passes save the weights with which layers ran.
- On processors with AVX512-BF16, bitsandbytes packs 4-bit weights at the first evaluation; no derivative passes then.
- Layers that round their inputs are steps: with the step for float32, differences of an 8-bit network were off by a
  factor of 14. For quantized weights the step is that of half precision, 0.1 a number.
- The miniature has few layers whose sizes the 4-bit format takes, hence the share.
- Rounded weights have a fingerprint of their own: `undo`, `replay` and saved directions need the same quantization.
  Fingerprints do not include the scales of bitsandbytes, whose form changes in the first call.
"""


def main() -> None:
    """Write the page, or print the fingerprint of one way."""
    if len(sys.argv) > 1:
        print(Tried(sys.argv[1]).before)
        return
    plain = Tried(None)
    names = ("diffusers", "torchao", "gguf", "bitsandbytes", "optimum-quanto", "torch")
    versions = ", ".join(f"{name} {importlib.metadata.version(name).partition('+')[0]}" for name in names)
    write_text(PAGE, HEAD.format(versions=versions) + "\n".join(row(way, plain) for way in WAYS) + "\n" + TAIL)


if __name__ == "__main__":
    main()
