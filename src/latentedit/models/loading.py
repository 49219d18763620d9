"""Model folders in the format of diffusers, local or from the hub: checked, then loaded as the stock pipeline.

Only safetensors are loaded.
"""

import contextlib
import dataclasses
import math
import re
import warnings
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from latentedit.core.errors import LatentEditError, ModelError
from latentedit.models.libraries import library_class, pipeline_of, quiet_libraries
from latentedit.models.model_settings import read_settings
from latentedit.models.pipelines import backbone_class
from latentedit.models.weights import AGAIN, INFIXES, Shapes, read_model_json, tensor_shapes, weight_files
from latentedit.numerics.device import dtype_name, half_or_float32

STEMS = {"diffusers": "diffusion_pytorch_model", "transformers": "model"}
"""File name of a network's weights, by the library of its class."""

# Files of which a tokenizer has one set; without them, transformers builds one that knows no word.
_VOCABULARIES = (("tokenizer.json",), ("vocab.json", "merges.txt"), ("spiece.model",), ("tokenizer.model",))

INDICES = ("model_index.json", "modular_model_index.json")
"""Files that make a folder a model, of which it has one."""

CONFIGURATIONS = (*INDICES, "latentedit.json", "scheduler_config.json", "config.json", "*/config.json")
"""Files that say which family a model is of, what it needs, and which other files it has: a few kilobytes."""

# Vocabularies and chat templates of tokenizers and processors.
_OF_TEXTS = ("*.json", "*.txt", "*.model", "*.jinja")

_COMMIT = re.compile(r"[0-9a-f]{40}")

# Models of at most this size in float32 run in float32 on every device by default.
_MAXIMUM_FLOAT32_BYTES = 2 * 2**30


@dataclasses.dataclass(frozen=True, slots=True)
class Part:
    """A part of a model folder: a network, its scheduler or a tokenizer."""

    root: Path  # the model folder
    name: str
    library: str
    kind: str  # its class

    @property
    def is_tokenizer(self) -> bool:
        """Whether it is a tokenizer or a processor of images and text."""
        return "tokenizer" in self.name or self.name.startswith("processor")

    @property
    def is_network(self) -> bool:
        """Whether it has weights."""
        return self.name != "scheduler" and not self.is_tokenizer

    @property
    def folder(self) -> Path:
        """Its own folder, or the model's if that holds its configuration, as in diffusers."""
        own = self.root / self.name
        return self.root if not own.is_dir() and (self.root / self._configured_in).is_file() else own

    @property
    def file(self) -> Path:
        """The file of its configuration."""
        return self.folder / self._configured_in

    @property
    def weights(self) -> tuple[Path, ...]:
        """The files of a network."""
        return weight_files(self.folder, STEMS[self.library])

    def load(self, **options: Any) -> Any:
        """The part from its folder, by the library of its class."""
        return library_class(self.library, self.kind).from_pretrained(self.folder, local_files_only=True, **options)

    @property
    def _configured_in(self) -> str:
        if self.is_tokenizer:
            return "tokenizer_config.json"
        return "config.json" if self.is_network else "scheduler_config.json"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ModelFolder:
    """A model folder in the format of diffusers."""

    path: Path
    adapter: Any  # subclass of `Backbone` for its denoiser
    index: Mapping[str, Any]  # content of ``model_index.json``
    parts: Mapping[str, Part]  # only parts that the adapter uses
    shapes: Mapping[str, Shapes]  # shapes of the tensors in each network's files; empty if only the index was read
    settings: Mapping[str, Any]  # content of ``latentedit.json``

    @property
    def pipeline(self) -> str:
        return str(self.index["_class_name"])

    @property
    def parameter_count(self) -> int:
        """How many numbers the weights of all networks have."""
        count = 0
        for shapes in self.shapes.values():
            count += sum(math.prod(shape) for shape in shapes.values())
        return count

    def default_dtype(self, device: torch.device) -> torch.dtype:
        """Float32 on the CPU and for models of up to 2 GiB, else the half precision of the family."""
        float32_bytes = 4 * self.parameter_count
        if device.type == "cpu" or float32_bytes <= _MAXIMUM_FLOAT32_BYTES:
            return torch.float32
        return self.adapter.half

    def load(self, dtype: torch.dtype = torch.float32) -> Any:
        """The stock pipeline on the CPU; its VAE is in float32 or better, other networks in ``dtype``."""
        with quiet_libraries(), warnings.catch_warnings():
            # torch_dtype is deprecated, and the only name in diffusers 0.31
            warnings.simplefilter("ignore", FutureWarning)
            given: dict[str, Any] = {name: None for name, entry in self.index.items() if _is_part(entry)}
            for name, part in self.parts.items():
                if part.is_network:
                    given[name] = _network(part, torch.promote_types(dtype, torch.float32) if name == "vae" else dtype)
                else:
                    given[name] = part.load()
            return pipeline_of(self.adapter.stock_class([self.pipeline], self.index), given, self.index)


def _network(part: Part, dtype: torch.dtype) -> Any:
    """A network, whose tensors are all in its files."""
    files = part.weights
    network, about = part.load(
        torch_dtype=dtype,
        variant=next((infix[1:] for infix in INFIXES[1:] if infix in files[0].name), None),
        use_safetensors=True,
        output_loading_info=True,
    )
    # Libraries fill tensors that a file lacks with random numbers.
    if missing := sorted(about["missing_keys"]):
        listed = ", ".join(map(str, files))
        raise ModelError(f"the tensor {missing[0]} is missing in {listed}, with {len(missing) - 1} more. {AGAIN}")
    return network


def warn_of_slow_dtype(dtype: torch.dtype, device: torch.device) -> None:
    """Warn the caller of `latentedit.load` if the processor has no fast kernels for this dtype."""
    if dtype.itemsize == 2 and half_or_float32(device) == torch.float32:
        warnings.warn(
            f"{dtype_name(dtype)} takes about 30 times as long as float32 on this processor, "
            "which lacks AVX-512. Use dtype float32",
            stacklevel=4,
        )


def open_folder(path: Path) -> ModelFolder:
    """Check that a folder of ``save_pretrained`` is complete and supported.

    Of the weights only headers are read.
    """
    folder, shapes = read_index(path), dict[str, Shapes]()
    for name, part in folder.parts.items():
        if part.is_tokenizer:
            if not any(all((part.folder / file).is_file() for file in files) for files in _VOCABULARIES):
                raise ModelError(f"{part.folder} has no tokenizer.json, nor vocab.json and merges.txt. {AGAIN}")
            continue
        # This refuses a configuration that is missing, damaged or not a JSON object.
        read_model_json(part.file)
        if part.is_network:
            shapes[name] = tensor_shapes(*part.weights)
    return dataclasses.replace(folder, shapes=shapes)


def read_index(path: Path) -> ModelFolder:
    """Read ``model_index.json`` and ``latentedit.json`` of a model; the parts need not be present."""
    found = [path / name for name in INDICES if (path / name).exists()]
    if not found:
        raise ModelError(
            f"{path} has no model_index.json, so it is not a diffusers model. "
            "Give the folder that save_pretrained of a pipeline wrote"
        )
    modular = found[0].name.startswith("modular")  # where a part is a library, a class and a place
    index = {name: part[:2] if isinstance(part, list) else part for name, part in read_model_json(found[0]).items()}
    present = {name: Part(path, name, *entry) for name, entry in index.items() if _is_part(entry) and None not in entry}
    adapter = backbone_class(
        [str(index.get("_class_name"))],
        {name: [part.kind] for name, part in present.items() if part.is_network},
        lambda name: read_model_json(present[name].file) if present[name].file.is_file() else {},
        subject=f"{path} contains a {index.get('_class_name')}",
    )
    optional = adapter.optional_parts
    for name in ("scheduler", *adapter.parts):
        part = present.get(name)
        if part is None and name not in optional and not (modular and name == "scheduler"):
            raise ModelError(f"{found[0]} lists no {name}. {AGAIN}")
        if part is not None and part.is_network and part.library not in STEMS:
            raise ModelError(
                f"the {name} in {found[0]} is a class of {part.library!r}. "
                "Only diffusers and transformers are supported"
            )
    names = (*adapter.parts, "scheduler")
    return ModelFolder(
        path=path,
        adapter=adapter,
        index=index,
        parts={name: present[name] for name in names if name in present},
        shapes={},
        settings=read_settings(path),
    )


def _is_part(entry: Any) -> bool:
    """Whether an entry of ``model_index.json`` is a part: a pair of library and class, both null if it is absent."""
    return isinstance(entry, list) and len(entry) == 2 and all(isinstance(name, str | None) for name in entry)


@contextlib.contextmanager
def explaining(path: Path, what: str) -> Generator[None]:
    """Re-raise errors of libraries as `ModelError` that names the folder; out-of-memory errors pass."""
    try:
        yield
    except (LatentEditError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # configurations fail in as many ways as there are models
        raise ModelError(f"{what} cannot be loaded from {path}: {_first_line(error)}. {AGAIN}") from error


def _first_line(error: Exception) -> str:
    """The first line of an error's message, or its class."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def download_model(model_id: str) -> Path:
    """The snapshot folder of a diffusers model, downloaded unless it is cached; all files are of one commit.

    Each network comes as plain safetensors files, or as a half-precision copy (``*.bf16.*``, ``*.fp16.*``) without
    them. Neither pickles nor parts that the adapter does not read are downloaded.
    """
    folder = download(model_id, allow_patterns=CONFIGURATIONS)
    parts = read_index(folder).parts.values()
    lacking = [part for part in parts if part.is_network]
    # All later files are of this commit, even if the branch moves meanwhile.
    name, _, revision = model_id.partition("@")
    pinned = f"{name}@{commit_of(folder) or revision}".removesuffix("@")
    patterns = [f"{part.name}/{file}" for part in parts for file in (_OF_TEXTS if part.is_tokenizer else ("*.json",))]
    for infix in INFIXES:
        patterns += [pattern for part in lacking for pattern in _weight_patterns(part, infix)]
        if patterns:
            download(pinned, allow_patterns=patterns)
        lacking, patterns = [part for part in lacking if not _is_stored(part)], []
    return folder


def _is_stored(part: Part) -> bool:
    """Whether a folder has weights of a network, of any copy."""
    with contextlib.suppress(ModelError):
        return all(file.exists() for file in part.weights)
    return False


def _weight_patterns(part: Part, infix: str) -> list[str]:
    """Patterns of the weight files of a part, of one of `INFIXES`."""
    stem = part.folder.relative_to(part.root) / STEMS[part.library]
    # Repositories have the infix of a variant before the number of a shard, or behind it.
    shards = [f"{stem}{infix}-?????-of-?????.safetensors", f"{stem}-?????-of-?????{infix}.safetensors"]
    return [f"{stem}{infix}.safetensors", *shards]


def download(model_id: str, *, allow_patterns: Sequence[str], ignore_patterns: Sequence[str] = ()) -> Path:
    """The snapshot folder of a repository of the hub, with all files that match a pattern, downloaded or cached."""
    import huggingface_hub  # noqa: PLC0415  # slow, and only downloads need it

    hub: Any = huggingface_hub
    name, _, revision = model_id.partition("@")
    try:
        snapshot = hub.snapshot_download(
            name, revision=revision or None, allow_patterns=list(allow_patterns), ignore_patterns=list(ignore_patterns)
        )
    except hub.errors.GatedRepoError as error:
        raise ModelError(
            f"{name} needs its license accepted. Accept it at https://huggingface.co/{name}, then run: hf auth login"
        ) from error
    except (
        hub.errors.RepositoryNotFoundError,
        hub.errors.RevisionNotFoundError,
        hub.errors.HFValidationError,
    ) as error:
        raise ModelError(f"the hub has no {model_id!r}. Check the id, or give a folder") from error
    except (OSError, hub.errors.HfHubHTTPError) as error:
        raise ModelError(
            f"{model_id!r} cannot be downloaded: the hub cannot be reached and the cache does not have it. "
            "Check the network, or copy the folder here and give its path"
        ) from error
    return Path(snapshot)


def commit_of(folder: Path) -> str | None:
    """The commit of a folder in the hub's cache; None elsewhere."""
    return folder.name if folder.parent.name == "snapshots" and _COMMIT.fullmatch(folder.name) else None
