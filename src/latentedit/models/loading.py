"""Model folders in the format of diffusers, local or from the hub: checked, then loaded as the stock pipeline.

Only safetensors are loaded. LoRA files are merged into the weights of a pipeline that is loaded here; a live pipeline
brings its own adapters.
"""

import contextlib
import dataclasses
import importlib
import importlib.util
import re
import warnings
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from latentedit.core.errors import LatentEditError, MissingDependencyError, ModelError, to_install
from latentedit.core.files import user_path
from latentedit.core.plugins import require
from latentedit.core.setting import check_value
from latentedit.models.libraries import library_class, pipeline_of, quiet_libraries
from latentedit.models.model_settings import read_settings
from latentedit.models.pipelines import backbone_class
from latentedit.models.weights import AGAIN, INFIXES, Shapes, read_model_json, tensor_shapes, weight_files

GGUF = ".gguf"
"""Suffix of files with quantized weights."""

STEMS = {"diffusers": "diffusion_pytorch_model", "transformers": "model"}
"""File name of a network's weights, by the library of its class."""

# Files of which a tokenizer has one set; without them, transformers builds one that knows no word.
_VOCABULARIES = (("tokenizer.json",), ("vocab.json", "merges.txt"), ("spiece.model",), ("tokenizer.model",))

TextEncoders = Literal["all", "required"]
"""Which text encoders to load: all, or only those that the model cannot do without."""

INDICES = ("model_index.json", "modular_model_index.json")
"""Files that make a folder a model, of which it has one."""

CONFIGURATIONS = (*INDICES, "latentedit.json", "scheduler_config.json", "config.json", "*/config.json")
"""Files that say which family a model is of, what it needs, and which other files it has: a few kilobytes."""

# Vocabularies and chat templates of tokenizers and processors.
_OF_TEXTS = ("*.json", "*.txt", "*.model", "*.jinja")

_COMMIT = re.compile(r"[0-9a-f]{40}")


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

    def load(self, dtype: torch.dtype = torch.float32, *, denoiser: Path | None = None) -> Any:
        """The stock pipeline on the CPU, with the VAE in float32 or better; `place` freezes its networks.

        Args:
            dtype: of the other networks.
            denoiser: a single file with the denoiser's weights.
        """
        with quiet_libraries(), warnings.catch_warnings():
            # torch_dtype is deprecated, and the only name in diffusers 0.31
            warnings.simplefilter("ignore", FutureWarning)
            given: dict[str, Any] = {name: None for name, entry in self.index.items() if _is_part(entry)}
            for name, part in self.parts.items():
                if name == self.adapter.denoiser and denoiser is not None:
                    given[name] = _from_single_file(part, denoiser, dtype)
                elif part.is_network:
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


def _from_single_file(part: Part, file: Path, dtype: torch.dtype) -> Any:
    """A network with the weights of a file of any format that diffusers converts; GGUF stays quantized."""
    kind, options = library_class(part.library, part.kind), dict[str, Any]()
    if not hasattr(kind, "from_single_file"):
        raise ModelError(f"diffusers loads no single files into a {part.kind}. Use a folder of save_pretrained")
    if file.suffix == GGUF:
        if importlib.util.find_spec("gguf") is None:
            raise MissingDependencyError(f"GGUF files need the package gguf. {to_install('gguf', 'accelerate')}")
        options["quantization_config"] = library_class("diffusers", "GGUFQuantizationConfig")(compute_dtype=dtype)
    config = str(part.folder)
    return kind.from_single_file(str(file), config=config, torch_dtype=dtype, local_files_only=True, **options)


def open_folder(path: Path, *, text_encoders: TextEncoders = "all", denoiser: Path | None = None) -> ModelFolder:
    """Check that a folder of ``save_pretrained`` is complete and supported; of the weights only headers are read.

    ``denoiser`` is a single file with the denoiser's weights, which the folder need not have.
    """
    folder, shapes = read_index(path, text_encoders=text_encoders), dict[str, Shapes]()
    for name, part in folder.parts.items():
        if part.is_tokenizer:
            if not any(all((part.folder / file).is_file() for file in files) for files in _VOCABULARIES):
                raise ModelError(f"{part.folder} has no tokenizer.json, nor vocab.json and merges.txt. {AGAIN}")
            continue
        # This refuses a configuration that is missing, damaged or not a JSON object.
        read_model_json(part.file)
        if part.is_network:
            files = (denoiser,) if denoiser and name == folder.adapter.denoiser else part.weights
            shapes[name] = {} if files[0].suffix == GGUF else tensor_shapes(*files)
    return dataclasses.replace(folder, shapes=shapes)


def read_index(path: Path, *, text_encoders: TextEncoders = "all") -> ModelFolder:
    """Read ``model_index.json`` and ``latentedit.json`` of a model; the parts need not be present."""
    check_value(TextEncoders, text_encoders=text_encoders)
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
    names = [name for name in (*adapter.parts, "scheduler") if text_encoders == "all" or name not in optional]
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


def download_model(model_id: str, *, text_encoders: TextEncoders = "all", denoiser: bool = True) -> Path:
    """The snapshot folder of a diffusers model, downloaded unless it is cached; all files are of one commit.

    Each network comes as plain safetensors files, or as a half-precision copy (``*.bf16.*``, ``*.fp16.*``) without
    them. Neither pickles nor parts that the adapter does not read are downloaded.
    """
    folder = download(model_id, allow_patterns=CONFIGURATIONS)
    index = read_index(folder, text_encoders=text_encoders)
    parts = [part for name, part in index.parts.items() if denoiser or name != index.adapter.denoiser]
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


def lora_files(given: Sequence[str | Path | tuple[str | Path, float]]) -> list[tuple[Path, float]]:
    """Files with the factors of their change of the weights, 1 if only the file is given; both are checked."""
    loose: Any = given  # one file, or one with its factor
    if isinstance(loose, str | Path) or (isinstance(loose, tuple) and isinstance([*loose, "", ""][1], int | float)):
        given = [loose]
    if given:
        require("peft", "lora")
    pairs = [file if isinstance(file, tuple) else (file, 1.0) for file in given]
    for _, scale in pairs:
        check_value(float, scale=scale)
    found = [(weight_file(path, ".safetensors"), scale) for path, scale in pairs]
    tensor_shapes(*(path for path, _ in found))  # which damaged files do not have
    return found


def weight_file(given: str | Path, *suffixes: str) -> Path:
    """A file of weights with one of these suffixes, which must exist."""
    path = user_path(given, error=ModelError)
    one = f"one file ({' or '.join(suffixes)})"
    if path.is_dir():
        raise ModelError(f"{path} is a folder, and weights are {one}. Give a file in it")
    if not path.exists():
        raise ModelError(f"there is no file {path}. Download it first, then give the path of {one}")
    if path.suffix not in suffixes:
        raise ModelError(
            f"{path} is a {path.suffix or 'file without suffix'}, and weights are {one}. Give another file"
        )
    return path


def merge_loras(pipeline: Any, loras: Sequence[tuple[Path, float]]) -> None:
    """Merge LoRAs into the weights of a pipeline, in place."""
    kind = type(pipeline).__name__
    if loras and not hasattr(pipeline, "load_lora_weights"):
        raise ModelError(f"diffusers does not load LoRAs into a {kind}. Merge it into the weights yourself")
    blocks = {"unet_config": pipeline.unet.config} if hasattr(pipeline, "unet") else {}
    for path, scale in loras:
        folder = str(path.parent)
        where = {"weight_name": path.name, "local_files_only": True, "use_safetensors": True}
        try:
            with quiet_libraries():
                stored = pipeline.lora_state_dict(folder, **where, **blocks)
                pipeline.load_lora_weights(folder, adapter_name="lora", **where)
                parts = [*pipeline.get_list_adapters()]
                # diffusers only warns of tensors of another shape, and leaves their layers at random.
                misfit = _misfit(stored[0] if isinstance(stored, tuple) else stored, pipeline, parts)
                if parts and misfit is None:
                    pipeline.fuse_lora(components=parts, lora_scale=scale)
                pipeline.unload_lora_weights()
        except Exception as error:  # files fail in as many ways as there are trainers
            raise ModelError(
                f"{path} does not load into the {kind}: {_first_line(error)}. "
                "Use a LoRA trained on this model, and weights that are not quantized"
            ) from error
        if not parts or misfit is not None:
            fault = f"does not fit {misfit}" if parts else "changes no layer"
            raise ModelError(f"{path} {fault} of this {kind}. Use a LoRA trained on this model")


def _misfit(stored: Mapping[str, Tensor], pipeline: Any, parts: Sequence[str]) -> str | None:
    """The first layer that takes a tensor of another shape than the file's, which diffusers would leave at random."""
    peft: Any = require("peft", "lora")
    for part in parts:
        loaded = peft.get_peft_model_state_dict(getattr(pipeline, part), adapter_name="lora")
        for name, tensor in loaded.items():
            if stored.get(f"{part}.{name}", tensor).shape != tensor.shape:
                return f"{part}.{name}"
    return None
