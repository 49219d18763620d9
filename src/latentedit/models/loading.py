"""Model folders in the format of diffusers: checked, then loaded as the stock pipeline; safetensors only."""

import contextlib
import dataclasses
import difflib
import inspect
import warnings
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import nn

from latentedit.core.errors import ConfigError, LatentEditError, ModelError
from latentedit.core.plugins import BACKBONES
from latentedit.models.libraries import library_class, quiet_libraries
from latentedit.models.model_settings import read_settings
from latentedit.models.weights import fingerprint, pipeline_variant, read_json, tensor_shapes, unstored, weight_files

_EXPLODING = (
    "is variance-exploding: its noise is unbounded, and its network takes noise levels instead of timesteps. "
    "Use a variance-preserving model"
)
_MASKED = "is an inpainting model whose network takes more than latents. Use the text-to-image model of its family"
_STEERED = "is steered by a control image. Use the text-to-image model of its family"
_MAP = "is a distilled flow map, which has no velocity at one level. Use the base model"
_NO_REVERSE = "computes its experts without gradients, so derivatives would be wrong. Use another family"
_REFUSED = {
    "ScoreSdeVePipeline": _EXPLODING,
    "KarrasVePipeline": _EXPLODING,
    "FluxFillPipeline": _MASKED,
    "FluxControlPipeline": _STEERED,
    "FluxControlNetPipeline": _STEERED,
    "StableDiffusionInpaintPipeline": _MASKED,
    "StableDiffusionXLInpaintPipeline": _MASKED,
    "StableDiffusionControlNetPipeline": _STEERED,
    "StableDiffusionXLControlNetPipeline": _STEERED,
    "StableDiffusion3ControlNetPipeline": _STEERED,
    "Flux3DistilledModularPipeline": _MAP,
    "LatentConsistencyModelPipeline": _MAP,
    "SanaControlNetPipeline": _STEERED,
    "CogView4ControlPipeline": _STEERED,
    "ZImageControlNetPipeline": _STEERED,
    "HiDreamImagePipeline": _NO_REVERSE,
}
"""Pipelines that resemble supported ones, and why they are not supported."""

STEMS = {"diffusers": "diffusion_pytorch_model", "transformers": "model"}
"""File name of a network's weights, by the library of its class."""

_VOCABULARIES = (("tokenizer.json",), ("vocab.json", "merges.txt"), ("spiece.model",), ("tokenizer.model",))
"""Files of which a tokenizer has one set; without them, transformers builds one that knows no word."""

TextEncoders = Literal["all", "required"]
"""Which text encoders to load: all, or only those that the model cannot do without."""

_AGAIN = "Download or copy the folder again"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ModelFolder:
    """A model folder in the format of diffusers.

    Args:
        path: of the folder.
        adapter: subclass of `Backbone` for its pipeline class.
        index: content of ``model_index.json``.
        parts: library and class of each part that the adapter uses.
        weights: weight files of each network; empty if only the index was read.
        settings: content of ``latentedit.json``.
    """

    path: Path
    adapter: Any
    index: Mapping[str, Any]
    parts: Mapping[str, tuple[str, str]]
    weights: Mapping[str, tuple[Path, ...]]
    settings: Mapping[str, Any]

    @property
    def pipeline(self) -> str:
        """Name of the pipeline class."""
        return str(self.index["_class_name"])

    @property
    def networks(self) -> list[str]:
        """Names of the parts that have weights."""
        return [part for part in self.parts if is_network(part)]

    @property
    def fingerprint(self) -> str:
        """Hash of the contents of all weight files."""
        return fingerprint(self.weights)

    def part_folder(self, part: str) -> Path:
        """The folder of a part: its own, or the model's if that holds the part's configuration, as in diffusers."""
        own = self.path / part
        return self.path if not own.is_dir() and (self.path / _configuration_file(part)).is_file() else own

    def load(self, dtype: torch.dtype = torch.float32) -> Any:
        """The stock pipeline on the CPU, with the VAE in float32 or better; `place` freezes its networks."""
        variant = pipeline_variant(self.weight_folders())
        options: dict[str, Any] = {"use_safetensors": True, "variant": variant, "local_files_only": True}
        with quiet_libraries(), warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", FutureWarning
            )  # torch_dtype: deprecated by now, and the only name in diffusers 0.31
            kind = library_class("diffusers", self.pipeline)
            given = self._unused_parts(kind)
            if "vae" in self.parts and dtype != (wide := torch.promote_types(dtype, torch.float32)):
                own = variant if any(f".{variant}." in file.name for file in self.weights["vae"]) else None
                vae = library_class(*self.parts["vae"])
                folder = self.part_folder("vae")
                given["vae"] = vae.from_pretrained(folder, torch_dtype=wide, **options | {"variant": own})
            pipeline = kind.from_pretrained(self.path, torch_dtype=dtype, **options, **given)
        for part in self.networks:
            network: nn.Module = getattr(pipeline, part)
            if missing := unstored(network, self.weights[part]):
                files = ", ".join(map(str, self.weights[part]))
                raise ModelError(
                    f"the tensor {missing[0]} is missing in {files}, with {len(missing) - 1} more. {_AGAIN}"
                )
        return pipeline

    def _unused_parts(self, kind: Any) -> dict[str, Any]:
        """None for each part of a pipeline class that is absent or not used, as ``from_pretrained`` takes it."""
        absent = (inspect.Parameter.empty, None)
        return {
            name: None
            for name, parameter in inspect.signature(kind.__init__).parameters.items()
            if name not in ("self", *self.parts)
            and (_is_part(self.index[name], or_null=True) if name in self.index else parameter.default in absent)
        }

    def weight_folders(self) -> list[tuple[Path, str]]:
        """Folder and file stem of each network's weights."""
        return [(self.part_folder(part), STEMS[self.parts[part][0]]) for part in self.networks]


def open_folder(path: Path, *, text_encoders: TextEncoders = "all") -> ModelFolder:
    """Check that a folder of ``save_pretrained`` is complete and supported; of the weights only headers are read.

    Args:
        path: of the folder.
        text_encoders: "required" omits text encoders that the model can do without (SD3's T5).

    Raises:
        ConfigError: another value of ``text_encoders``.
        ModelError: not a model folder, an unsupported pipeline, a missing or damaged part, or pickle weights.
    """
    folder = read_index(path, text_encoders=text_encoders)
    missing = [part for part in sorted(folder.parts) if not folder.part_folder(part).is_dir()]
    if missing:
        raise ModelError(f"{path} is incomplete: it has no folder {', '.join(missing)}. {_AGAIN}")
    for part in folder.parts:
        place = folder.part_folder(part)
        if not is_tokenizer(part):
            read_json(place / _configuration_file(part))
        elif not any(all((place / file).is_file() for file in files) for files in _VOCABULARIES):
            raise ModelError(f"{place} has no tokenizer.json, nor vocab.json and merges.txt. {_AGAIN}")
    variant = pipeline_variant(folder.weight_folders())
    weights = {
        part: weight_files(place, stem, variant)
        for part, (place, stem) in zip(folder.networks, folder.weight_folders(), strict=True)
    }
    for files in weights.values():
        for file in files:
            tensor_shapes(file)
    return dataclasses.replace(folder, weights=weights)


def read_index(path: Path, *, text_encoders: TextEncoders = "all") -> ModelFolder:
    """Read ``model_index.json`` and ``latentedit.json`` of a model; the parts need not be present."""
    if text_encoders not in get_args(TextEncoders):
        raise ConfigError(f"text_encoders is 'all' or 'required'; got {text_encoders!r}")
    if not path.is_dir():
        raise ModelError(f"there is no model folder at {path}. Check the path")
    if not (path / "model_index.json").exists():
        raise ModelError(
            f"{path} has no model_index.json, so it is not a diffusers model. "
            "Give the folder that save_pretrained of a pipeline wrote"
        )
    index = read_json(path / "model_index.json")
    adapter = adapter_class(str(index.get("_class_name")), f"{path} contains a")
    optional = adapter.optional_parts
    present = {part: (str(entry[0]), str(entry[1])) for part, entry in index.items() if _is_part(entry)}
    for part in ("scheduler", *adapter.parts):
        if part not in present and part not in optional:
            raise ModelError(f"{path / 'model_index.json'} lists no {part}. {_AGAIN}")
        if is_network(part) and part in present and present[part][0] not in STEMS:
            raise ModelError(
                f"the {part} in {path / 'model_index.json'} is a class of {present[part][0]!r}. "
                "Only diffusers and transformers are supported"
            )
    if present.keys() & optional not in (set(), optional):
        raise ModelError(f"{path / 'model_index.json'} has only some of {', '.join(sorted(optional))}. {_AGAIN}")
    wanted = [part for part in (*adapter.parts, "scheduler") if text_encoders == "all" or part not in optional]
    return ModelFolder(
        path=path,
        adapter=adapter,
        index=index,
        parts={part: present[part] for part in wanted if part in present},
        weights={},
        settings=read_settings(path),
    )


def _is_part(entry: Any, *, or_null: bool = False) -> bool:
    """Whether an entry of ``model_index.json`` is a part: a pair of library and class, both null if it is absent."""
    known = (str, type(None)) if or_null else str
    return isinstance(entry, list) and len(entry) == 2 and all(isinstance(name, known) for name in entry)


def adapter_class(pipeline: str, subject: str) -> Any:
    """The adapter of a pipeline class; a message begins with the subject, "PATH contains a" or "this is a"."""
    if pipeline in _REFUSED:
        raise ModelError(f"{subject} {pipeline}, which {_REFUSED[pipeline]}")
    if pipeline not in BACKBONES.names():
        near = difflib.get_close_matches(pipeline, BACKBONES.names(), n=3, cutoff=0.6)
        raise ModelError(
            f"{subject} {pipeline}, which is not supported. "
            f"{'Similar: ' + ', '.join(near) + '. ' if near else ''}See: latentedit models families; wrap any other "
            "model with latentedit.CallableBackbone"
        )
    return BACKBONES.load(pipeline)


@contextlib.contextmanager
def explaining(path: Path, what: str) -> Generator[None]:
    """Re-raise errors of libraries as `ModelError` that names the folder; out-of-memory errors pass."""
    try:
        yield
    except (LatentEditError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # configurations fail in as many ways as there are models
        raise ModelError(f"{what} cannot be loaded from {path}: {first_line(error)}. {_AGAIN}") from error


def first_line(error: Exception) -> str:
    """The first line of an error's message, or its class."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def is_network(part: str) -> bool:
    """Whether a part has weights."""
    return part != "scheduler" and not is_tokenizer(part)


def is_tokenizer(part: str) -> bool:
    """Whether a part is a tokenizer or a processor of images and text."""
    return part.startswith(("tokenizer", "processor"))


def _configuration_file(part: str) -> str:
    if is_tokenizer(part):
        return "tokenizer_config.json"
    return "scheduler_config.json" if part == "scheduler" else "config.json"
