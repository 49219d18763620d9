"""LoRA files, merged into the networks of a pipeline that we load; a live pipeline brings its own adapters."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from latentedit.core.errors import ConfigError, ModelError, require
from latentedit.models.libraries import quiet_libraries
from latentedit.models.loading import first_line
from latentedit.models.weights import tensor_shapes
from latentedit_keep.files import user_path


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LoraFile:
    """A LoRA in a safetensors file, and the factor of its change of the weights; 1 is as it was trained."""

    path: Path
    scale: float = 1.0

    def __post_init__(self) -> None:
        if not abs(self.scale) < float("inf"):
            raise ConfigError(f"the scale of a LoRA is a finite number; got {self.scale} for {self.path}")
        if self.path.suffix != ".safetensors" or not self.path.is_file():
            raise ModelError(f"{self.path} is not a LoRA file NAME.safetensors. Check the path")
        tensor_shapes(self.path)


def lora_files(given: Sequence[str | Path | tuple[str | Path, float]]) -> tuple[LoraFile, ...]:
    """Files with their scales; the scale is 1 if only the file is given."""
    if given:
        require("peft", "lora")
    pairs = (one if isinstance(one, tuple) else (one, 1.0) for one in given)
    return tuple(LoraFile(path=user_path(path, error=ModelError), scale=scale) for path, scale in pairs)


def merge_loras(pipeline: Any, loras: Sequence[LoraFile]) -> None:
    """Merge LoRAs into the weights of a pipeline, in place."""
    kind = type(pipeline).__name__
    if loras and not hasattr(pipeline, "load_lora_weights"):
        raise ModelError(f"diffusers does not load LoRAs into a {kind}. Merge it into the weights yourself")
    blocks = {"unet_config": pipeline.unet.config} if hasattr(pipeline, "unet") else {}
    for number, lora in enumerate(loras):
        name, folder = f"lora_{number}", str(lora.path.parent)
        where = {"weight_name": lora.path.name, "local_files_only": True, "use_safetensors": True}
        try:
            with quiet_libraries():
                stored = pipeline.lora_state_dict(folder, **where, **blocks)
                pipeline.load_lora_weights(folder, adapter_name=name, **where)
                parts = [part for part, names in pipeline.get_list_adapters().items() if name in names]
                misfit = _misfit(stored[0] if isinstance(stored, tuple) else stored, pipeline, parts, name)
                if parts and misfit is None:
                    pipeline.fuse_lora(components=parts, lora_scale=lora.scale, adapter_names=[name])
                pipeline.unload_lora_weights()
        except Exception as error:  # files fail in as many ways as there are trainers
            raise ModelError(
                f"{lora.path} does not load into the {kind}: {first_line(error)}. Use a LoRA trained on this model"
            ) from error
        if not parts or misfit is not None:
            fault = f"does not fit {misfit}" if parts else "changes no layer"
            raise ModelError(f"{lora.path} {fault} of this {kind}. Use a LoRA trained on this model")


def _misfit(stored: Mapping[str, Tensor], pipeline: Any, parts: Sequence[str], adapter: str) -> str | None:
    """The first layer that takes a tensor of another shape than the file's, which diffusers would leave at random."""
    peft: Any = require("peft", "lora")
    for part in parts:
        loaded = peft.get_peft_model_state_dict(getattr(pipeline, part), adapter_name=adapter)
        for name, tensor in loaded.items():
            if stored.get(f"{part}.{name}", tensor).shape != tensor.shape:
                return f"{part}.{name}"
    return None
