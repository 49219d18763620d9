"""Device and dtype of the networks of a pipeline that is loaded here, and the memory that they need.

Parameters are counted in the headers of the weight files or, without those, in the networks that the configurations
build on the meta device. Activations are estimated.

A live pipeline is taken as it is: nothing in it is moved, cast or frozen. Its owner can do what `place` does with the
same methods of diffusers.
"""

import collections
import dataclasses
import itertools
import math
import warnings
from collections.abc import Mapping
from typing import Any, Literal, get_args

import psutil
import torch
from torch import nn

from latentedit.core.device import dtype_name, half_or_float32, parse_dtype
from latentedit.core.errors import ModelError
from latentedit.core.plugins import require
from latentedit.core.settings import check_value
from latentedit.models.codec import scale_px
from latentedit.models.libraries import library_class, unallocated
from latentedit.models.loading import ModelFolder, Part, explaining
from latentedit.models.sizes import Shapes, check_fields
from latentedit.models.weights import read_model_json

Policy = Literal["resident", "model", "groups"]
"""All networks on the device; only the network in use, the others in memory; the same layer by layer."""

POLICIES: tuple[Policy, ...] = get_args(Policy)

Storage = Literal["fp8"]

STORAGES = {"fp8": torch.float8_e4m3fn}
"""Names of dtypes in which layers can be stored, and not computed."""

# Models of at most this size in float32 run in float32 on every device by default.
_SMALL_BYTES = 2 * 2**30


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Device, dtype and storage of the networks; the VAE is in float32 or better.

    ``storage`` is the dtype in which the denoiser's layers are kept between calls, such as ``torch.float8_e4m3fn``;
    None is ``dtype``.
    """

    device: torch.device
    dtype: torch.dtype
    policy: Policy = "resident"
    storage: torch.dtype | None = None

    def __post_init__(self) -> None:
        parse_dtype(self.dtype)
        check_value(Policy, placement=self.policy)


def place(components: Mapping[str, Any], placement: Placement, *, denoiser: str) -> None:
    """Move and freeze the networks of a pipeline; ``denoiser`` names the one with `Placement.storage`."""
    device = placement.device
    networks: dict[str, Any] = {name: part for name, part in components.items() if isinstance(part, nn.Module)}
    for network in networks.values():
        network.eval().requires_grad_(False)
        if placement.policy == "resident":
            network.to(device)
    if placement.storage is not None:
        networks[denoiser].enable_layerwise_casting(storage_dtype=placement.storage, compute_dtype=placement.dtype)
    if placement.policy == "model":
        offload: Any = require("accelerate", "offload")
        # The order of sampling: when a network is called, the previous one leaves the device.
        before = None
        for name in sorted(networks, key=lambda name: (name == "vae", name == denoiser)):
            _, before = offload.cpu_offload_with_hook(networks[name], device, prev_module_hook=before)
    elif placement.policy == "groups":
        from diffusers.hooks import apply_group_offloading  # noqa: PLC0415 (rarely wanted, and slow to import)

        for network in networks.values():
            apply_group_offloading(
                network, onload_device=device, offload_device=torch.device("cpu"), offload_type="leaf_level"
            )


def parse_storage(storage: torch.dtype | str | None) -> torch.dtype | None:
    """A dtype in which layers are stored, or the one of that name."""
    if not isinstance(storage, str):
        return storage
    check_value(Storage, storage=storage)
    return STORAGES[storage]


def suited_dtype(device: torch.device, *, bytes_float32: int, half: torch.dtype) -> torch.dtype:
    """Resolve ``dtype="auto"``: float32 on the CPU and for small models, else the half precision of the family."""
    return torch.float32 if device.type == "cpu" or bytes_float32 <= _SMALL_BYTES else half


def warn_of_slow_dtype(placement: Placement) -> None:
    """Warn if the processor has no fast kernels for the half precision of a placement."""
    if placement.dtype.itemsize == 2 and half_or_float32(placement.device) == torch.float32:
        warnings.warn(
            f"{dtype_name(placement.dtype)} takes about 30 times as long as float32 on this processor, which lacks "
            "AVX-512. Use dtype float32",
            stacklevel=3,
        )


# Rows of one guided call: the conditional and the unconditional one.
_ROWS = 2

# Peak of a forward pass in tensors of its tokens (of its pixels, for a codec) times its width, fused attention.
# Counted on the meta device: FLUX.1 17, Qwen-Image 14, SD3 and PixArt 12.5; SD1 26, SDXL 16; AutoencoderKL 6.
_TENSORS_OF_A_TRANSFORMER, _TENSORS_OF_A_UNET, _TENSORS_OF_A_CODEC = 18, 26, 6

_CPU = torch.device("cpu")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PartNeeds:
    """Class of one network, and its number of parameters, buffers included."""

    kind: str
    parameters: int
    largest_layer: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ModelNeeds:
    """Memory that a model needs."""

    parts: Mapping[str, PartNeeds]
    denoiser: str  # name of the network that predicts
    half: torch.dtype  # the half precision that the family was published for
    side_px: int  # of the square image that the estimates hold for
    activations: int  # numbers that the denoiser keeps in one guided call
    codec_activations: int  # numbers that the VAE keeps for one image

    @property
    def parameters(self) -> int:
        return sum(part.parameters for part in self.parts.values())

    def part_bytes(self, part: str, placement: Placement) -> int:
        return self.parts[part].parameters * self._dtype(part, placement).itemsize

    def weight_bytes(self, placement: Placement) -> int:
        """Largest size of the weights on the device at one time; on the CPU every policy keeps all of them."""
        sizes = [self.part_bytes(part, placement) for part in self.parts]
        if placement.device.type == "cpu" or placement.policy == "resident":
            return sum(sizes)
        if placement.policy == "model":
            return max(sizes, default=0)
        return max(part.largest_layer * self._dtype(name, placement).itemsize for name, part in self.parts.items())

    def activation_bytes(self, placement: Placement) -> int:
        """Estimated activations of a guided call or of the VAE, whichever is larger."""
        wide = _wide(placement.dtype).itemsize
        return max(self.activations * placement.dtype.itemsize, self.codec_activations * wide)

    def total_bytes(self, placement: Placement) -> int:
        """Estimated weights and activations on the device at one time."""
        return self.weight_bytes(placement) + self.activation_bytes(placement)

    def suited(self, device: torch.device, *, dtype: torch.dtype | None = None) -> tuple[Placement, Placement | None]:
        """The placement that one would like, and what this machine can do: `suited_placement`, else in fp8 storage.

        Layers in 8 bits are moved faster than layer by layer, so a GPU prefers them to "groups".
        """
        chosen = dtype or suited_dtype(device, bytes_float32=4 * self.parameters, half=self.half)
        preferred = Placement(device=device, dtype=chosen)
        exact = suited_placement(self, preferred)
        if device.type == "cpu" or (exact is not None and exact.policy != "groups"):
            return preferred, exact
        rounded = suited_placement(self, dataclasses.replace(preferred, storage=STORAGES["fp8"]))
        return preferred, exact if rounded is None or (exact and rounded.policy == "groups") else rounded

    def _dtype(self, part: str, placement: Placement) -> torch.dtype:
        if part == self.denoiser and placement.storage is not None:
            return placement.storage
        return _wide(placement.dtype) if part == "vae" else placement.dtype


def model_needs(folder: ModelFolder) -> ModelNeeds:
    """Memory that a model needs.

    Without weight files, networks are built from their configurations on the meta device, in about a second each.
    """
    with explaining(folder.path, "its configuration"):
        networks = {name: part for name, part in folder.parts.items() if part.is_network}
        shapes = {name: folder.shapes.get(name) or _built(part) for name, part in networks.items()}
        denoiser = str(getattr(folder.adapter, "denoiser", ""))
        config, vae = (read_model_json(networks[name].file) if name in networks else {} for name in (denoiser, "vae"))
        scale, unet = scale_px(vae) if vae else 1, "block_out_channels" in config
        side = _side_px(folder, config, scale)
        text = 0 if unet else int(getattr(folder.adapter, "window", 0))
        tokens = (side // scale // _stride(config, vae)) ** 2 + text
        tensors = _TENSORS_OF_A_UNET if unet else _TENSORS_OF_A_TRANSFORMER
        widths = vae.get("block_out_channels") or vae.get("encoder_block_out_channels") or [vae.get("base_dim", 0)]
        return ModelNeeds(
            parts={name: _part_needs(part.kind, shapes[name]) for name, part in networks.items()},
            denoiser=denoiser,
            half=folder.adapter.half,
            side_px=side,
            activations=_ROWS * tensors * tokens * _width(config, shapes.get(denoiser, {})),
            codec_activations=_TENSORS_OF_A_CODEC * side**2 * int(widths[0]),
        )


def suited_placement(needs: ModelNeeds, placement: Placement) -> Placement | None:
    """The fastest policy that fits this machine, in the chosen dtype or else in half precision; None if nothing fits.

    Weights pass through the CPU's memory, so they have to fit there too.
    """
    free, memory = free_bytes(placement.device), free_bytes(_CPU)
    # Fastest first, and a coarser dtype only where no policy fits in the chosen one.
    for dtype, policy in itertools.product(dict.fromkeys((placement.dtype, needs.half)), POLICIES):
        tried = dataclasses.replace(placement, dtype=dtype, policy=policy)
        in_memory = dataclasses.replace(tried, device=_CPU, storage=None)
        if needs.total_bytes(tried) <= free and needs.weight_bytes(in_memory) <= memory:
            return tried
    return None


def check_memory(needs: ModelNeeds, placement: Placement, *, name: str) -> None:
    """Check that the weights fit, before anything is allocated; estimates of activations do not count."""
    in_memory = dataclasses.replace(placement, device=_CPU, policy="resident", storage=None)
    for tried in (in_memory, placement):
        needed, free = needs.weight_bytes(tried), free_bytes(tried.device)
        if needed > free:
            suited = suited_placement(needs, placement)
            cure = (
                "No placement fits this machine. Free memory, or use a smaller model"
                if suited is None
                else f"Use dtype={dtype_name(suited.dtype)!r} and placement={suited.policy!r}"
            )
            raise ModelError(
                f"the weights of {name} take {gigabytes(needed)} on {tried.device} in {dtype_name(tried.dtype)} with "
                f"placement={tried.policy!r}; {gigabytes(free)} are free. {cure}"
            )


def free_bytes(device: torch.device) -> int:
    """Free memory of a device, or of the machine for devices that share its memory."""
    if device.type == "cuda":
        # PyTorch keeps blocks that were freed for its next tensors; CUDA counts them as taken.
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + kept
    return psutil.virtual_memory().available


def gigabytes(count: int) -> str:
    """A number of bytes in GB (10^9) or MB."""
    return f"{count / 1e9:.3g} GB" if count >= 1e8 else f"{count / 1e6:.3g} MB"


def _built(part: Part) -> Shapes:
    """Names and shapes of a network's tensors, from its configuration."""
    check_fields(part.file, configuration := read_model_json(part.file))
    network = unallocated(library_class(part.library, part.kind), configuration, part.folder)
    state = network.state_dict(keep_vars=True)
    names = {id(tensor): name for name, tensor in state.items()}  # matrices that are tied have two
    return {name: tuple(state[name].shape) for name in names.values()}


def _part_needs(kind: str, shapes: Shapes) -> PartNeeds:
    layers: collections.Counter[str] = collections.Counter()
    for name, shape in shapes.items():
        layers[name.rpartition(".")[0]] += math.prod(shape)
    return PartNeeds(kind=kind, parameters=layers.total(), largest_layer=max(layers.values(), default=0))


def _width(config: Mapping[str, Any], shapes: Shapes) -> int:
    """A U-Net's first width; of a transformer the width that most of its matrices take."""
    if "block_out_channels" in config:
        return int(config["block_out_channels"][0])
    taken = collections.Counter(shape[1] for shape in shapes.values() if len(shape) == 2)
    return taken.most_common(1)[0][0] if taken else 0


def _stride(config: Mapping[str, Any], vae: Mapping[str, Any]) -> int:
    """Side of one token in latents: the network's patch, or what is packed into its channels."""
    if "block_out_channels" in config:
        return 1
    patch = _largest(config.get("patch_size") or config.get("all_patch_size") or 1)
    channels = vae.get("latent_channels") or vae.get("z_dim") or 1
    return max(patch, math.isqrt(int(config.get("in_channels") or 1) // int(channels)))


def _side_px(folder: ModelFolder, config: Mapping[str, Any], scale: int) -> int:
    """The preferred side of an image."""
    if "sizes" in folder.settings:
        return int(folder.settings["sizes"][1])
    trained = _largest(config.get("sample_size") or 0) * scale
    return trained or int(getattr(folder.adapter, "trained_px", 0))


def _largest(value: Any) -> int:
    return max(value) if isinstance(value, (list, tuple)) else int(value)


def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)
