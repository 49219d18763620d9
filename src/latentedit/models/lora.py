"""LoRA files, merged into the networks of a pipeline when a model is loaded.

A live pipeline brings its own adapters; see `latentedit.from_pipeline`.
"""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from latentedit.core.errors import ConfigError, ModelError, require
from latentedit.models.libraries import library_class, quiet_libraries, stock_pipeline
from latentedit.models.weights import tensor_shapes
from latentedit_keep.files import user_path

_LAYER = re.compile(r"[._]lora[._]")
"""What ends the name of a layer in the name of a LoRA's tensor."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LoraFile:
    """A LoRA in a safetensors file.

    Args:
        path: of the file.
        scale: what its change of the weights is multiplied by; 1 is as it was trained.

    Raises:
        ConfigError: a scale that is no finite number.
        ModelError: no such file, or no safetensors.
    """

    path: Path
    scale: float = 1.0

    def __post_init__(self) -> None:
        if not abs(self.scale) < float("inf"):
            raise ConfigError(f"the scale of a LoRA is a finite number; got {self.scale} for {self.path}")
        if self.path.suffix != ".safetensors" or not self.path.is_file():
            raise ModelError(f"{self.path} is no LoRA that is read: it must be a file NAME.safetensors. Check the path")
        tensor_shapes(self.path)


def lora_files(given: Sequence[str | Path | tuple[str | Path, float]]) -> tuple[LoraFile, ...]:
    """Files, each with its scale; 1 where only the file is given.

    Raises:
        ConfigError, ModelError: see `LoraFile`.
    """
    pairs = (one if isinstance(one, tuple) else (one, 1.0) for one in given)
    return tuple(LoraFile(path=user_path(path, error=ModelError), scale=scale) for path, scale in pairs)


def merge_loras(
    components: Mapping[str, Any], loras: Sequence[LoraFile], *, pipeline: str, configuration: Mapping[str, Any]
) -> None:
    """Add LoRAs to the weights of networks, in place, as the stock pipeline reads them; sums do not ask for the order.

    Args:
        components: of the pipeline by name.
        loras: of files and scales.
        pipeline: class of the pipeline.
        configuration: what ``model_index.json`` says beside the parts.

    Raises:
        ModelError: a family without LoRAs, or one of another base, with a layer that does not fit.
        MissingDependencyError: peft is not installed.
    """
    require("peft", "lora")
    kind = library_class("diffusers", pipeline)
    if not hasattr(kind, "lora_state_dict"):
        raise ModelError(f"diffusers reads no LoRA into a {pipeline}. Merge it into the weights yourself")
    stock = stock_pipeline(pipeline, components, configuration)
    parts = [part for part in kind._lora_loadable_modules if isinstance(components.get(part), nn.Module)]
    for number, lora in enumerate(loras):
        name = f"lora_{number}"
        where = {"weight_name": lora.path.name, "local_files_only": True, "use_safetensors": True}
        with quiet_libraries():
            _check_fit(_tensors(kind, lora, components, where), components, lora, pipeline)
            try:
                stock.load_lora_weights(str(lora.path.parent), adapter_name=name, **where)
                stock.fuse_lora(components=parts, lora_scale=lora.scale, adapter_names=[name])
                stock.unload_lora_weights()
            except Exception as error:  # files fail in as many ways as there are trainers
                raise ModelError(f"{lora.path} does not load into the {pipeline}: {_reason(error)}") from error


def _tensors(kind: Any, lora: LoraFile, components: Mapping[str, Any], where: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors by the names of diffusers."""
    blocks = {"unet_config": components["unet"].config} if "unet" in components else {}
    try:
        found = kind.lora_state_dict(str(lora.path.parent), **where, **blocks)
    except Exception as error:  # as above
        raise ModelError(f"{lora.path} is no LoRA that diffusers can read: {_reason(error)}") from error
    return found[0] if isinstance(found, tuple) else found


def _check_fit(tensors: Mapping[str, Tensor], components: Mapping[str, Any], lora: LoraFile, pipeline: str) -> None:
    """Refuse a LoRA with layers that the networks do not have, or have in another width."""
    layers: dict[str, nn.Module] = {
        f"{part}.{name}": module
        for part, network in components.items()
        if isinstance(network, nn.Module)
        for name, module in network.named_modules()
    }
    named = {key: _LAYER.split(key.replace(".processor.", "."))[0] for key in tensors if _LAYER.search(key)}
    wrong = [key for key, layer in named.items() if not _fits(key, tensors[key], layers.get(layer))]
    if wrong or not named:
        first = f", such as {wrong[0]}" if wrong else ""
        raise ModelError(
            f"{lora.path} is a LoRA of another base than this {pipeline}: {len(wrong)} of its {len(named)} tensors do "
            f"not fit{first}. Use one that was trained on this model"
        )


def _fits(key: str, tensor: Tensor, layer: nn.Module | None) -> bool:
    if isinstance(layer, nn.Linear) and tensor.ndim == 2:
        first = "lora_A" in key or ".down." in key
        return tensor.shape[1] == layer.in_features if first else tensor.shape[0] == layer.out_features
    return layer is not None


def _reason(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
