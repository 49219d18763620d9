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
from latentedit.core.plugins import require
from latentedit.core.settings import check_value
from latentedit.models.libraries import library_class, pipeline_of, quiet_libraries
from latentedit.models.model_settings import read_settings
from latentedit.models.pipelines import backbone_class
from latentedit.models.sizes import check_built, check_network, check_scheduler
from latentedit.models.weights import AGAIN, VARIANTS, read_model_json, tensor_shapes, weight_files
from latentedit_keep.floor.files import user_path

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

CONFIGURATIONS = (*INDICES, "latentedit.json", "config.json", "*/config.json")
"""Files that say which family a model is of, what it needs, and which other files it has: a few kilobytes."""

# Vocabularies and chat templates of tokenizers and processors.
_OF_TEXTS = ("*.json", "*.txt", "*.model", "*.jinja")

_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ModelFolder:
    """A model folder in the format of diffusers."""

    path: Path
    adapter: Any  # subclass of `Backbone` for its denoiser
    index: Mapping[str, Any]  # content of ``model_index.json``
    parts: Mapping[str, tuple[str, str]]  # library and class of each part that the adapter uses
    weights: Mapping[str, tuple[Path, ...]]  # files of each network; empty if only the index was read
    settings: Mapping[str, Any]  # content of ``latentedit.json``

    @property
    def pipeline(self) -> str:
        return str(self.index["_class_name"])

    @property
    def networks(self) -> list[str]:
        """Names of the parts that have weights."""
        return [part for part in self.parts if is_network(part)]

    def part_folder(self, part: str) -> Path:
        """The folder of a part: its own, or the model's if that holds the part's configuration, as in diffusers."""
        return _part_folder(self.path, part)

    def load(self, dtype: torch.dtype = torch.float32, *, denoiser: Path | None = None) -> Any:
        """The stock pipeline on the CPU, with the VAE in float32 or better; `place` freezes its networks.

        Args:
            dtype: of the other networks.
            denoiser: a single file with the denoiser's weights.
        """
        with quiet_libraries(), warnings.catch_warnings():
            # torch_dtype is deprecated, and the only name in diffusers 0.31
            warnings.simplefilter("ignore", FutureWarning)
            given: dict[str, Any] = {name: None for name, entry in self.index.items() if _is_part(entry, or_null=True)}
            for part, about in self.parts.items():
                if part == self.adapter.denoiser and denoiser is not None:
                    given[part] = self._from_single_file(denoiser, dtype)
                elif is_network(part):
                    given[part] = self._network(
                        part, torch.promote_types(dtype, torch.float32) if part == "vae" else dtype
                    )
                else:
                    given[part] = library_class(*about).from_pretrained(self.part_folder(part), local_files_only=True)
            return pipeline_of(self.adapter.stock_class([self.pipeline], self.index), given, self.index)

    def check_sizes(self) -> None:
        """Refuse networks much larger than their weights: libraries allocate them before they read the files."""
        for part in self.networks:
            file = self.part_folder(part) / _configuration_file(part)
            check_built(
                file, read_model_json(file), library_class(*self.parts[part]), network_shapes(self.weights[part])
            )

    def _network(self, part: str, dtype: torch.dtype) -> Any:
        """A network, whose tensors are all in its files."""
        files = self.weights[part]
        network, about = library_class(*self.parts[part]).from_pretrained(
            self.part_folder(part),
            torch_dtype=dtype,
            variant=next((name for name in VARIANTS if f".{name}" in files[0].name), None),
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
        )
        # Libraries fill tensors that a file lacks with random numbers.
        if missing := sorted(about["missing_keys"]):
            listed = ", ".join(map(str, files))
            raise ModelError(f"the tensor {missing[0]} is missing in {listed}, with {len(missing) - 1} more. {AGAIN}")
        return network

    def _from_single_file(self, file: Path, dtype: torch.dtype) -> Any:
        """The denoiser with the weights of a file of any format that diffusers converts; GGUF stays quantized."""
        part = self.adapter.denoiser
        kind, options = library_class(*self.parts[part]), dict[str, Any]()
        if not hasattr(kind, "from_single_file"):
            raise ModelError(f"diffusers loads no single files into a {kind.__name__}. Use a folder of save_pretrained")
        if file.suffix == GGUF:
            if importlib.util.find_spec("gguf") is None:
                raise MissingDependencyError(f"GGUF files need the package gguf. {to_install('gguf', 'accelerate')}")
            options["quantization_config"] = library_class("diffusers", "GGUFQuantizationConfig")(compute_dtype=dtype)
        config = str(self.part_folder(part))
        return kind.from_single_file(str(file), config=config, torch_dtype=dtype, local_files_only=True, **options)


def open_folder(path: Path, *, text_encoders: TextEncoders = "all", denoiser: Path | None = None) -> ModelFolder:
    """Check that a folder of ``save_pretrained`` is complete and supported; of the weights only headers are read.

    ``denoiser`` is a single file with the denoiser's weights, which the folder need not have.
    """
    folder = read_index(path, text_encoders=text_encoders)
    configurations = dict[str, Mapping[str, Any]]()
    for part in folder.parts:
        own = folder.part_folder(part)
        if not is_tokenizer(part):
            configurations[part] = read_model_json(own / _configuration_file(part))
        elif not any(all((own / file).is_file() for file in files) for files in _VOCABULARIES):
            raise ModelError(f"{own} has no tokenizer.json, nor vocab.json and merges.txt. {AGAIN}")
    weights = {
        part: (denoiser,)
        if denoiser and part == folder.adapter.denoiser
        else weight_files(folder.part_folder(part), STEMS[folder.parts[part][0]])
        for part in folder.networks
    }
    for part, configuration in configurations.items():
        file = folder.part_folder(part) / _configuration_file(part)
        if part == "scheduler":
            check_scheduler(file, configuration)
        else:
            check_network(file, configuration, network_shapes(weights[part]))
    return dataclasses.replace(folder, weights=weights)


def network_shapes(files: Sequence[Path]) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors in a network's files; none of GGUF."""
    return {name: shape for file in files if file.suffix != GGUF for name, shape in tensor_shapes(file).items()}


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
    present = {part: (str(entry[0]), str(entry[1])) for part, entry in index.items() if _is_part(entry)}

    def configuration(part: str) -> Mapping[str, Any]:
        file = _part_folder(path, part) / "config.json"
        return read_model_json(file) if file.is_file() else {}

    adapter = backbone_class(
        [str(index.get("_class_name"))],
        {part: [kind] for part, (_, kind) in present.items() if part != "scheduler" and not is_tokenizer(part)},
        configuration,
        subject=f"{path} contains a {index.get('_class_name')}",
    )
    optional = adapter.optional_parts
    for part in ("scheduler", *adapter.parts):
        if part not in present and part not in optional and not (modular and part == "scheduler"):
            raise ModelError(f"{found[0]} lists no {part}. {AGAIN}")
        if is_network(part) and part in present and present[part][0] not in STEMS:
            raise ModelError(
                f"the {part} in {found[0]} is a class of {present[part][0]!r}. "
                "Only diffusers and transformers are supported"
            )
    names = [part for part in (*adapter.parts, "scheduler") if text_encoders == "all" or part not in optional]
    return ModelFolder(
        path=path,
        adapter=adapter,
        index=index,
        parts={part: present[part] for part in names if part in present},
        weights={},
        settings=read_settings(path),
    )


def _part_folder(path: Path, part: str) -> Path:
    own = path / part
    return path if not own.is_dir() and (path / _configuration_file(part)).is_file() else own


def _is_part(entry: Any, *, or_null: bool = False) -> bool:
    """Whether an entry of ``model_index.json`` is a part: a pair of library and class, both null if it is absent."""
    kinds = (str, type(None)) if or_null else str
    return isinstance(entry, list) and len(entry) == 2 and all(isinstance(name, kinds) for name in entry)


@contextlib.contextmanager
def explaining(path: Path, what: str) -> Generator[None]:
    """Re-raise errors of libraries as `ModelError` that names the folder; out-of-memory errors pass."""
    try:
        yield
    except (LatentEditError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # configurations fail in as many ways as there are models
        raise ModelError(f"{what} cannot be loaded from {path}: {first_line(error)}. {AGAIN}") from error


def first_line(error: Exception) -> str:
    """The first line of an error's message, or its class."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def is_network(part: str) -> bool:
    """Whether a part has weights."""
    return part != "scheduler" and not is_tokenizer(part)


def is_tokenizer(part: str) -> bool:
    """Whether a part is a tokenizer or a processor of images and text."""
    return "tokenizer" in part or part.startswith("processor")


def _configuration_file(part: str) -> str:
    if is_tokenizer(part):
        return "tokenizer_config.json"
    return "scheduler_config.json" if part == "scheduler" else "config.json"


def download_model(model_id: str, *, text_encoders: TextEncoders = "all", denoiser: bool = True) -> Path:
    """The snapshot folder of a diffusers model, downloaded unless it is cached; all files are of one commit.

    Each network comes as plain safetensors files, or as a half-precision copy (``*.bf16.*``, ``*.fp16.*``) without
    them. Neither pickles nor parts that the adapter does not read are downloaded.
    """
    name, _, revision = model_id.partition("@")
    folder = download(model_id, allow_patterns=CONFIGURATIONS)
    index = read_index(folder, text_encoders=text_encoders)
    parts = {part: kind for part, kind in index.parts.items() if denoiser or part != index.adapter.denoiser}
    # All later files are of this commit, even if the branch moves meanwhile.
    pinned = f"{name}@{commit_of(folder) or revision}".removesuffix("@")
    patterns = [pattern for part, (library, _) in parts.items() for pattern in _files(part, library)]
    folder = download(pinned, allow_patterns=patterns)
    stems = {part: STEMS[library] for part, (library, _) in parts.items() if is_network(part)}
    # Parts at the root of a repository, as in `_part_folder`.
    if any(not (folder / part).is_dir() for part in parts):
        names = {"config.json", "scheduler_config.json", *(f"{stem}.safetensors" for stem in stems.values())}
        return download(pinned, allow_patterns=sorted(names))
    for variant in VARIANTS:
        lacking = [part for part, stem in stems.items() if not _is_stored(folder / part, stem)]
        copies = [pattern for part in lacking for pattern in _weight_patterns(part, stems[part], f".{variant}")]
        if copies:
            download(pinned, allow_patterns=copies)
    return folder


def _is_stored(folder: Path, stem: str) -> bool:
    """Whether a folder has weights of a network, of any copy."""
    with contextlib.suppress(ModelError):
        return all(file.exists() for file in weight_files(folder, stem))
    return False


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


def _files(part: str, library: str) -> list[str]:
    """Patterns of the files of a part that are read."""
    if part == "scheduler":
        return [f"{part}/scheduler_config.json"]
    if not is_network(part):
        return [f"{part}/{pattern}" for pattern in _OF_TEXTS]
    return [f"{part}/*.json", *_weight_patterns(part, STEMS[library], "")]


def _weight_patterns(part: str, stem: str, infix: str) -> list[str]:
    """Patterns of the weight files of a part; the infix of a half-precision copy is ".bf16" or ".fp16"."""
    # Repositories have the infix of a variant before the number of a shard, or behind it.
    shards = f"{part}/{stem}-?????-of-?????{infix}.safetensors"
    return [f"{part}/{stem}{infix}.safetensors", f"{part}/{stem}{infix}-?????-of-?????.safetensors", shards]


def single_file(given: str | Path | None) -> Path | None:
    """A file with the weights of one network, which must exist."""
    if given is None:
        return None
    path = user_path(given, error=ModelError)
    if path.suffix not in (".safetensors", GGUF) or not path.is_file():
        raise ModelError(f"{path} is not a weight file (.safetensors or .gguf). Check the path")
    return path


def lora_files(given: Sequence[str | Path | tuple[str | Path, float]]) -> list[tuple[Path, float]]:
    """Files with the factors of their change of the weights, 1 if only the file is given; both are checked."""
    if given:
        require("peft", "lora")
    pairs = [file if isinstance(file, tuple) else (file, 1.0) for file in given]
    found = [(user_path(path, error=ModelError), scale) for path, scale in pairs]
    for path, scale in found:
        check_value(float, scale=scale)
        if not path.is_file():
            raise ModelError(f"there is no such file: {path}. Check the path of the LoRA")
        if path.suffix != ".safetensors":
            raise ModelError(f"{path} is not a LoRA file NAME.safetensors. Check the path")
        tensor_shapes(path)
    return found


def merge_loras(pipeline: Any, loras: Sequence[tuple[Path, float]]) -> None:
    """Merge LoRAs into the weights of a pipeline, in place."""
    kind = type(pipeline).__name__
    if loras and not hasattr(pipeline, "load_lora_weights"):
        raise ModelError(f"diffusers does not load LoRAs into a {kind}. Merge it into the weights yourself")
    blocks = {"unet_config": pipeline.unet.config} if hasattr(pipeline, "unet") else {}
    for number, (path, scale) in enumerate(loras):
        name, folder = f"lora_{number}", str(path.parent)
        where = {"weight_name": path.name, "local_files_only": True, "use_safetensors": True}
        try:
            with quiet_libraries():
                stored = pipeline.lora_state_dict(folder, **where, **blocks)
                pipeline.load_lora_weights(folder, adapter_name=name, **where)
                parts = [part for part, names in pipeline.get_list_adapters().items() if name in names]
                # diffusers only warns of tensors of another shape, and leaves their layers at random.
                misfit = _misfit(stored[0] if isinstance(stored, tuple) else stored, pipeline, parts, name)
                if parts and misfit is None:
                    pipeline.fuse_lora(components=parts, lora_scale=scale, adapter_names=[name])
                pipeline.unload_lora_weights()
        except Exception as error:  # files fail in as many ways as there are trainers
            raise ModelError(
                f"{path} does not load into the {kind}: {first_line(error)}. "
                "Use a LoRA trained on this model, and weights that are not quantized"
            ) from error
        if not parts or misfit is not None:
            fault = f"does not fit {misfit}" if parts else "changes no layer"
            raise ModelError(f"{path} {fault} of this {kind}. Use a LoRA trained on this model")


def _misfit(stored: Mapping[str, Tensor], pipeline: Any, parts: Sequence[str], adapter: str) -> str | None:
    """The first layer that takes a tensor of another shape than the file's, which diffusers would leave at random."""
    peft: Any = require("peft", "lora")
    for part in parts:
        loaded = peft.get_peft_model_state_dict(getattr(pipeline, part), adapter_name=adapter)
        for name, tensor in loaded.items():
            if stored.get(f"{part}.{name}", tensor).shape != tensor.shape:
                return f"{part}.{name}"
    return None
