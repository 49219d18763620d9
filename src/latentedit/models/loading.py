"""Model folders: checked before anything is loaded, safetensors only, no network for a local folder."""

import dataclasses
import logging
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from latentedit.core.errors import ModelError, require
from latentedit.models.pipelines import OPTIONAL_PARTS, REFUSED, SUPPORTED
from latentedit.models.weights import PICKLE_SUFFIXES, read_json, refuse_pickles, tensor_shapes, weight_files

SETTINGS_FILE = "latentedit.json"

_ROOT_FILES = ("model_index.json", SETTINGS_FILE, "config.json", "scheduler_config.json")
_DOWNLOADED = (
    *_ROOT_FILES,
    "diffusion_pytorch_model.safetensors",
    "*/*.json",
    "*/*.safetensors",
    "*/*.txt",
    "*/*.model",
)
_NOT_DOWNLOADED = (
    "*.fp16*",
    "*.non_ema*",
    "safety_checker/*",
    "feature_extractor/*",
    "image_encoder/*",
    *(f"*{suffix}" for suffix in sorted(PICKLE_SUFFIXES)),
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ModelFolder:
    """A diffusers folder that was found complete.

    Args:
        path: where it lies.
        pipeline: the class that ``model_index.json`` names.
        parts: names of the parts that are present and wanted.
        left_out: names of the parts that are present and not wanted.
        weights: files of each part that has weights.
        settings: content of ``latentedit.json``: what the folder's maker recommends; empty for most models.
    """

    path: Path
    pipeline: str
    parts: frozenset[str]
    left_out: frozenset[str]
    weights: Mapping[str, tuple[Path, ...]]
    settings: Mapping[str, Any]

    def place(self, part: str) -> Path:
        """The folder of a part: its own, or the model's where that holds the part's files, as diffusers finds them."""
        return _place(self.path, part)


def open_folder(path: Path, *, t5: bool = True) -> ModelFolder:
    """Check a model folder: every part, configuration and weight file there and complete, nothing that runs code.

    Args:
        path: a folder as ``save_pretrained`` of a pipeline writes it.
        t5: False leaves the third text encoder out, as if the folder had none.

    Raises:
        ModelError: not a model folder, another pipeline than those supported, a part that is missing, damaged or of
            another class, or pickle weights.

    Cost:
        Reads the headers of the weight files only.
    """
    if not path.is_dir():
        raise ModelError(f"expected a model folder; there is none at {path}. Check the path")
    if not (path / "model_index.json").is_file():
        raise ModelError(
            f"expected a diffusers model folder; {path} has no model_index.json. "
            "Give the folder that save_pretrained of a pipeline wrote"
        )
    index = read_json(path / "model_index.json")
    pipeline = str(index.get("_class_name"))
    if pipeline in REFUSED:
        raise ModelError(f"expected a variance-preserving model; the {pipeline} in {path} {REFUSED[pipeline]}")
    if pipeline not in SUPPORTED:
        raise ModelError(f"expected a model of one of: {', '.join(SUPPORTED)}; {path} holds a {pipeline}")
    refuse_pickles(path)
    parts: set[str] = set()
    left_out: set[str] = set()
    weights: dict[str, tuple[Path, ...]] = {}
    for part, classes in SUPPORTED[pipeline].items():
        if part in OPTIONAL_PARTS and _part_class(index, part) is None:
            continue
        if part in OPTIONAL_PARTS and not t5:
            left_out.add(part)
            continue
        _check_class(path, index, part, classes)
        _check_configuration(_place(path, part), part)
        parts.add(part)
        stem = _weight_stem(part)
        if stem is not None:
            weights[part] = weight_files(_place(path, part), stem)
            for file in weights[part]:
                tensor_shapes(file)
    if ("text_encoder_3" in parts) != ("tokenizer_3" in parts):
        raise ModelError(f"expected text_encoder_3 and tokenizer_3 both or neither in {path / 'model_index.json'}")
    settings = read_json(path / SETTINGS_FILE) if (path / SETTINGS_FILE).is_file() else {}
    return ModelFolder(
        path=path,
        pipeline=pipeline,
        parts=frozenset(parts),
        left_out=frozenset(left_out),
        weights=weights,
        settings=settings,
    )


def load_network(model_class: Any, folder: ModelFolder, part: str, dtype: torch.dtype) -> Any:
    """One network in evaluation mode, its parameters frozen, on the CPU.

    Args:
        model_class: the diffusers or transformers class.
        folder: checked by `open_folder`.
        part: its name.
        dtype: that the parameters are cast to.

    Raises:
        ModelError: tensors that are missing or of another shape than the part's configuration builds.
    """
    place = folder.place(part)
    try:
        with quiet_libraries():
            network, report = model_class.from_pretrained(
                place,
                torch_dtype=dtype,
                use_safetensors=True,
                local_files_only=True,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
            )
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelError(f"expected {place} to load as {model_class.__name__}; it does not: {reason}") from error
    for name, stored, built in sorted(report["mismatched_keys"]):
        raise ModelError(
            f"expected tensor {name} of shape {list(built)} in {_file_of(folder, part, name)}; got {list(stored)}. "
            f"{place / 'config.json'} and the weights do not belong together"
        )
    missing = sorted(report["missing_keys"])
    if missing:
        raise ModelError(
            f"expected tensor {missing[0]} in {', '.join(map(str, folder.weights[part]))}; "
            f"it is missing, with {len(missing) - 1} more. Download or copy the folder again"
        )
    return network.eval().requires_grad_(False)


def load_tokenizer(tokenizer_class: Any, folder: ModelFolder, part: str) -> Any:
    """One tokenizer.

    Raises:
        ModelError: files that cannot be read.
    """
    try:
        with quiet_libraries():
            return tokenizer_class.from_pretrained(folder.place(part), local_files_only=True)
    except Exception as error:  # the tokenizers library raises bare exceptions
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelError(f"expected a tokenizer in {folder.place(part)}; it does not load: {reason}") from error


def download(model_id: str, *, t5: bool = True) -> Path:
    """The snapshot folder of a model on the Hugging Face hub, downloaded unless it lies in the cache.

    Pickles and half-precision copies are left out.

    Args:
        model_id: ``org/name``, or ``org/name@revision``.
        t5: False leaves out the third text encoder, by far the largest part of SD3.

    Raises:
        ModelError: with what to do: no such model, a licence to accept, or no network.
    """
    hub = require("huggingface_hub", "hub")
    name, _, revision = model_id.partition("@")
    skipped = _NOT_DOWNLOADED if t5 else (*_NOT_DOWNLOADED, "text_encoder_3/*", "tokenizer_3/*")
    try:
        found = hub.snapshot_download(
            name, revision=revision or None, allow_patterns=list(_DOWNLOADED), ignore_patterns=list(skipped)
        )
    except hub.errors.GatedRepoError as error:
        raise ModelError(
            f"expected access to {name}; it needs its licence accepted. "
            f"Accept it at https://huggingface.co/{name}, then run: hf auth login"
        ) from error
    except (
        hub.errors.RepositoryNotFoundError,
        hub.errors.RevisionNotFoundError,
        hub.errors.HFValidationError,
    ) as error:
        raise ModelError(
            f"expected the hub to have {model_id!r}; it does not. Check the id, or give a folder"
        ) from error
    except (OSError, hub.errors.HfHubHTTPError) as error:
        raise ModelError(
            f"expected to download {model_id!r}; the hub cannot be reached and the cache does not have it. "
            "Check the network, or copy the folder here and give its path"
        ) from error
    return Path(found)


@contextmanager
def quiet_libraries() -> Generator[None]:
    """No progress bars and reports of diffusers and transformers inside, and the global random state kept."""
    settings: Any = require("transformers", "models").utils.logging
    names = ("transformers", "diffusers", "accelerate")
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    shown = settings.is_progress_bar_enabled()
    settings.disable_progress_bar()
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        if shown:
            settings.enable_progress_bar()


def _part_class(index: Mapping[str, Any], part: str) -> str | None:
    """The class of a part, None where ``model_index.json`` leaves it out or says null."""
    match index.get(part):
        case [_, str(name)]:
            return name
        case _:
            return None


def _check_class(path: Path, index: Mapping[str, Any], part: str, classes: tuple[str, ...]) -> None:
    found = _part_class(index, part)
    if found not in classes:
        raise ModelError(f"expected {part} in {path / 'model_index.json'} to be a {' or '.join(classes)}; got {found}")


def _place(path: Path, part: str) -> Path:
    own = path / part
    return path if not own.is_dir() and (path / _configuration_file(part)).is_file() else own


def _configuration_file(part: str) -> str:
    if part.startswith("tokenizer"):
        return "tokenizer_config.json"
    return "scheduler_config.json" if part == "scheduler" else "config.json"


def _check_configuration(place: Path, part: str) -> None:
    if not place.is_dir():
        raise ModelError(f"expected the part {place}; there is no such folder. Download or copy the folder again")
    if part.startswith("tokenizer"):
        sets = (("tokenizer.json",), ("vocab.json", "merges.txt"), ("spiece.model",))
        if not any(all((place / file).is_file() for file in files) for files in sets):
            raise ModelError(f"expected tokenizer.json, or vocab.json and merges.txt, in {place}; they are missing")
    read_json(place / _configuration_file(part))


def _weight_stem(part: str) -> str | None:
    if part in {"transformer", "vae", "unet"}:
        return "diffusion_pytorch_model"
    return "model" if part.startswith("text_encoder") else None


def _file_of(folder: ModelFolder, part: str, tensor: str) -> Path:
    """The file that holds a tensor; the part's folder where the stored name differs from the network's."""
    for path in folder.weights[part]:
        if tensor in tensor_shapes(path):
            return path
    return folder.place(part)
