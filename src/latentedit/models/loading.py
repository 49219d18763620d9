"""Model folders: checked before anything is loaded, safetensors only, no code of theirs, no network."""

import contextlib
import dataclasses
import difflib
import traceback
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, cast, get_args

import torch

from latentedit.core.errors import ConfigError, LatentEditError, ModelError
from latentedit.core.plugins import BACKBONES
from latentedit.models.folder_settings import check_settings
from latentedit.models.libraries import library_class, quiet_libraries
from latentedit.models.lora import LoraFile, merge_loras
from latentedit.models.weights import fingerprint, read_json, tensor_shapes, weight_files, weight_variant

SETTINGS_FILE = "latentedit.json"

_EXPLODING = (
    "is variance-exploding: its noise has no bound and its network takes levels of it, not counted times. "
    "Use a variance-preserving model"
)
_MASKED = "fills a masked part of a picture and takes more than latents. Use the text-to-image model of its family"
_STEERED = "is steered by a control picture. Use the text-to-image model of its family"
_MAP = "is distilled to jump between two levels (a flow map): it has no velocity at one level. Use the base model"
_NO_REVERSE = "runs its experts without gradients, so that gradients would be wrong unnoticed. Use another family"
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
"""Pipelines that look like supported ones, and why they are not."""

_STEMS = {"diffusers": "diffusion_pytorch_model", "transformers": "model"}
"""Name of a network's weight files, by the library of its class."""

TextEncoders = Literal["all", "required"]
"""Which text encoders of a model are loaded: those that it can do without too, or not."""

_MAX_LAYERS = 1000
"""Of one network; the deepest that is known has about a hundred."""

_MAX_WINDOW = 10_000
"""Tokens to which a tokenizer of CLIP fills texts up; its own are 77."""

_AGAIN = "Download or copy the folder again"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ModelFolder:
    """A diffusers folder that was found complete.

    Args:
        path: where it lies.
        pipeline: the class that ``model_index.json`` names.
        adapter: the subclass of `Backbone` for that pipeline.
        parts: library and class of the parts that are present and wanted.
        left_out: names of the parts that are present and not wanted.
        weights: files of each part that has weights; none where only configurations were looked at.
        settings: content of ``latentedit.json``: what the folder's maker recommends; empty for most models.
        configuration: what ``model_index.json`` says of the pipeline beside its parts.
        loras: that are merged into the networks when they are loaded.
    """

    path: Path
    pipeline: str
    adapter: Any
    parts: Mapping[str, tuple[str, str]]
    left_out: frozenset[str]
    weights: Mapping[str, tuple[Path, ...]]
    settings: Mapping[str, Any]
    configuration: Mapping[str, Any]
    loras: tuple[LoraFile, ...] = ()

    @property
    def fingerprint(self) -> str:
        """Of the contents of all weight files, and of the LoRAs with their scales."""
        return self.fingerprint_with(self.weights)

    def fingerprint_with(self, files: Mapping[str, Sequence[Path]]) -> str:
        """Of the contents of files of parts, and of the LoRAs with their scales."""
        loras = {f"lora {index} x {lora.scale:g}": (lora.path,) for index, lora in enumerate(self.loras)}
        return fingerprint({**files, **loras})

    def place(self, part: str) -> Path:
        """The folder in which a part lies."""
        return _place(self.path, part)

    def load(self, part: str, dtype: torch.dtype = torch.float32) -> Any:
        """One part on the CPU, as a live pipeline has it; of a scheduler its configuration.

        Args:
            part: its name.
            dtype: of a network's parameters; they are frozen, and the network is in evaluation mode.

        Raises:
            ModelError: files that do not load, or do not belong together.
        """
        place = _place(self.path, part)
        if part == "scheduler":
            return read_json(place / _configuration_file(part))
        library, name = self.parts[part]
        try:
            with quiet_libraries():
                if not is_network(part):
                    return _checked(
                        _tokenizer_class(library, name).from_pretrained(place, local_files_only=True), place
                    )
                network, report = library_class(library, name).from_pretrained(
                    place,
                    torch_dtype=dtype,
                    use_safetensors=True,
                    variant=weight_variant(place, weight_stem(library)) or None,
                    local_files_only=True,
                    ignore_mismatched_sizes=True,
                    output_loading_info=True,
                )
        except ModelError:
            raise
        except Exception as error:  # configurations and weights fail in as many ways as there are models
            raise ModelError(f"{place} does not load as the {part}, a {name}: {_reason(error)}. {_AGAIN}") from error
        self._check_complete(part, report)
        return network.eval().requires_grad_(False)

    def components(self, dtype: torch.dtype) -> dict[str, Any]:
        """Every wanted part, as ``components`` of a live pipeline; the VAE in float32, other networks in ``dtype``.

        Raises:
            ModelError: see `load`.
        """
        made = {part: self.load(part, torch.float32 if part == "vae" else dtype) for part in self.parts}
        if self.loras:
            merge_loras(made, self.loras, pipeline=self.pipeline, configuration=self.configuration)
        return made

    def _check_complete(self, part: str, report: Mapping[str, Any]) -> None:
        place = _place(self.path, part)
        for name, stored, built in sorted(report["mismatched_keys"]):
            holding = [path for path in self.weights[part] if name in tensor_shapes(path)]
            raise ModelError(
                f"the tensor {name} in {[*holding, place][0]} has shape {list(stored)}, and {place / 'config.json'} "
                f"builds {list(built)}: they do not belong together. {_AGAIN}"
            )
        missing = sorted(report["missing_keys"])
        if missing:
            raise ModelError(
                f"the tensor {missing[0]} is missing in {', '.join(map(str, self.weights[part]))}, "
                f"with {len(missing) - 1} more. {_AGAIN}"
            )


def open_folder(path: Path, *, text_encoders: TextEncoders = "all") -> ModelFolder:
    """Check a model folder: every part, configuration and weight file there and complete, nothing that runs code.

    Args:
        path: a folder as ``save_pretrained`` of a pipeline writes it.
        text_encoders: "required" leaves out parts that a model can do without (SD3's T5), as if it had none.

    Raises:
        ConfigError: another word for ``text_encoders``.
        ModelError: not a model folder, another pipeline than those supported, a part that is missing, damaged or of
            another class, or pickle weights.

    Cost:
        Reads the headers of the weight files only.
    """
    folder = read_index(path, text_encoders=text_encoders)
    return dataclasses.replace(folder, weights=_checked_weights(path, folder.parts))


def read_index(path: Path, *, text_encoders: TextEncoders = "all") -> ModelFolder:
    """What ``model_index.json`` says of a model; of its parts nothing is looked at, nor has to be there.

    Args:
        path: of the folder.
        text_encoders: as for `open_folder`.

    Raises:
        ConfigError: another word for ``text_encoders``.
        ModelError: not a model folder, another pipeline than those supported, or a part of another class.
    """
    if text_encoders not in get_args(TextEncoders):
        raise ConfigError(f"text_encoders is 'all' or 'required'; got {text_encoders!r}")
    if not path.is_dir():
        raise ModelError(f"there is no model folder at {path}. Check the path")
    if not (path / "model_index.json").exists():
        raise ModelError(
            f"{path} has no model_index.json, so it is no diffusers model. "
            "Give the folder that save_pretrained of a pipeline wrote"
        )
    index = read_json(path / "model_index.json")
    pipeline = str(index.get("_class_name"))
    adapter = check_known(pipeline, f"{path} holds a")
    present: dict[str, tuple[str, str]] = {}
    for part, classes in adapter.parts.items():
        match index.get(part):
            case [str(library), str(name)] if name in classes and library in _STEMS:
                present[part] = (library, name)
            case [_, None] | None if part in adapter.optional_parts:
                pass
            case found:
                name = found[1] if isinstance(found, list) and len(found) == 2 else found
                raise ModelError(
                    f"{part} in {path / 'model_index.json'} is a {name}, not a {' or '.join(classes)}. {_AGAIN}"
                )
    if present.keys() & adapter.optional_parts not in (set(), adapter.optional_parts):
        raise ModelError(
            f"{path / 'model_index.json'} has only some of {_listed(sorted(adapter.optional_parts))}. {_AGAIN}"
        )
    left_out = frozenset() if text_encoders == "all" else present.keys() & adapter.optional_parts
    parts = {part: kind for part, kind in present.items() if part not in left_out}
    return ModelFolder(
        path=path,
        pipeline=pipeline,
        adapter=adapter,
        parts=parts,
        left_out=frozenset(left_out),
        weights={},
        settings=_settings(path / SETTINGS_FILE),
        configuration=own_settings(index),
    )


def _settings(file: Path) -> dict[str, Any]:
    """What a folder recommends; most say nothing."""
    return check_settings(read_json(file), file) if file.exists() else {}


def own_settings(index: Mapping[str, Any]) -> dict[str, Any]:
    """Of the configuration of a pipeline, what is neither a part of it nor a remark of diffusers."""
    return {
        name: value
        for name, value in index.items()
        if not name.startswith("_") and value is not None and not _names_a_part(value)
    }


def _names_a_part(value: Any) -> bool:
    """Parts are pairs of library and class, both null where a pipeline goes without."""
    return isinstance(value, (list, tuple)) and all(name is None or isinstance(name, str) for name in value)


def check_known(pipeline: str, where: str) -> Any:
    """The adapter of a pipeline class.

    Args:
        pipeline: name of the class.
        where: it was found, for messages: "PATH holds a", "this is a".

    Raises:
        ModelError: a class that is not supported, with the reason or the nearest ones.
    """
    if pipeline in _REFUSED:
        raise ModelError(f"{where} {pipeline}, which {_REFUSED[pipeline]}")
    if pipeline not in BACKBONES.names():
        near = difflib.get_close_matches(pipeline, BACKBONES.names(), n=3, cutoff=0.6)
        raise ModelError(
            f"{where} {pipeline}, which is not supported. "
            f"{'Near it are ' + _listed(near) + '. ' if near else ''}See: latentedit models families; a model of "
            "another kind is made from a callable with latentedit.CallableBackbone"
        )
    return BACKBONES.load(pipeline)


def _checked_weights(path: Path, parts: Mapping[str, tuple[str, str]]) -> dict[str, tuple[Path, ...]]:
    """The weight files of every network, after the files of every part were found to be there and whole."""
    weights: dict[str, tuple[Path, ...]] = {}
    missing = [part for part in parts if not _place(path, part).is_dir()]
    if missing:
        raise ModelError(f"{path} has no folder {_listed(missing)}, so the model is not whole. {_AGAIN}")
    for part, (library, _) in parts.items():
        place = _place(path, part)
        for file in place.iterdir():
            if file.exists() and not file.is_file() and not file.is_dir():
                raise ModelError(f"{file} is no regular file but a pipe or a device. Do not use the model")
        if _reads_text(part):
            sets = (("tokenizer.json",), ("vocab.json", "merges.txt"), ("spiece.model",), ("tokenizer.model",))
            if not any(all((place / file).is_file() for file in files) for files in sets):
                raise ModelError(f"{place} has no tokenizer.json, nor vocab.json and merges.txt. {_AGAIN}")
        read_configuration(place / _configuration_file(part))
        if is_network(part):
            weights[part] = weight_files(place, weight_stem(library))
            for file in weights[part]:
                tensor_shapes(file)
    return weights


def read_configuration(file: Path) -> dict[str, Any]:
    """The configuration of a part.

    Raises:
        ModelError: no such file, no JSON object, or a number of layers that no network has: to build a million takes
            days before any weight is looked at.
    """
    found = read_json(file)
    _check_layers(found, file)
    return found


@contextlib.contextmanager
def explaining(path: Path, what: str) -> Generator[None]:
    """Whatever the configurations of a folder make fail inside is said of the folder.

    Args:
        path: of the folder.
        what: cannot be made of it.

    Raises:
        ModelError: in place of any error that is no `LatentEditError`; memory that ran out on a device is left alone.
    """
    try:
        yield
    except (LatentEditError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # configurations fail in as many ways as there are models
        raise ModelError(f"{what} cannot be made of {path}: {_reason(error)}. {_AGAIN}") from error


_WRONG_VALUES = (TypeError, ValueError, AttributeError, LookupError, ArithmeticError)
"""What a value that a library does not count on ends in; a shape or a device is a caller's fault, a RuntimeError."""


@contextlib.contextmanager
def computing(name: str) -> Generator[None]:
    """A configuration that loads, and that no network can compute with, is said of the model.

    Args:
        name: of the model.

    Raises:
        ModelError: in place of an error of `_WRONG_VALUES` that a library raised.
    """
    try:
        yield
    except _WRONG_VALUES as error:
        *_, (frame, _) = traceback.walk_tb(error.__traceback__)
        if frame.f_globals["__name__"].partition(".")[0] not in ("torch", *_STEMS):
            raise
        raise ModelError(f"the networks of {name} load and do not compute: {_reason(error)}. {_AGAIN}") from error


def _reason(error: Exception) -> str:
    """The first line of what a library says, or the name of an error without words."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _checked(tokenizer: Any, place: Path) -> Any:
    """A tokenizer of CLIP, whose texts are filled up to its greatest length, has one."""
    length = getattr(tokenizer, "model_max_length", 0)
    if "CLIP" in type(tokenizer).__name__ and not 0 < length <= _MAX_WINDOW:
        raise ModelError(f"{place} says model_max_length {length:.6g}, where 1 to {_MAX_WINDOW} make sense. {_AGAIN}")
    return tokenizer


def _check_layers(value: Any, file: Path) -> None:
    """Whatever is called layers, however deep in a configuration."""
    for name, inner in cast("dict[str, Any]", value).items() if isinstance(value, dict) else ():
        least = 1 if name == "num_hidden_layers" else 0
        if "layers" in name and isinstance(inner, int) and not least <= inner <= _MAX_LAYERS:
            raise ModelError(f"{file} says {name} {inner}, where {least} to {_MAX_LAYERS} make sense. {_AGAIN}")
        if "block" in name and isinstance(inner, list) and len(cast("list[Any]", inner)) > _MAX_LAYERS:
            raise ModelError(f"{file} lists more than {_MAX_LAYERS} {name}. {_AGAIN}")
        _check_layers(inner, file)


def is_network(part: str) -> bool:
    """A part with weights: neither the scheduler, nor a tokenizer, nor a processor of pictures and text."""
    return part != "scheduler" and not _reads_text(part)


def _reads_text(part: str) -> bool:
    return part.startswith(("tokenizer", "processor"))


def weight_stem(library: str) -> str:
    """How a network's weight files are called, by the library of its class."""
    return _STEMS[library]


def _place(path: Path, part: str) -> Path:
    """The folder of a part: its own, or the model's where that holds the part's files, as diffusers finds them."""
    own = path / part
    return path if not own.is_dir() and (path / _configuration_file(part)).is_file() else own


def _tokenizer_class(library: str, name: str) -> Any:
    """The fast kind where there are two: the others of transformers 4 do not say where words are.

    Of a processor of pictures and text, its tokenizer: the other half needs torchvision, and is not used here.
    """
    if name.endswith("Processor"):
        return library_class(library, "AutoTokenizer")
    with contextlib.suppress(ModelError):
        return library_class(library, f"{name.removesuffix('Fast')}Fast")
    return library_class(library, name)


def _configuration_file(part: str) -> str:
    if _reads_text(part):
        return "tokenizer_config.json"
    return "scheduler_config.json" if part == "scheduler" else "config.json"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)
