"""Models of the Hugging Face hub: of their files those that are read, downloaded into its cache."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from latentedit.core.errors import ModelError, require
from latentedit.models.loading import STEMS, TextEncoders, is_network, read_index
from latentedit.models.weights import VARIANTS, pipeline_variant, stored_as

CONFIGURATIONS = ("model_index.json", "latentedit.json", "config.json", "*/config.json")
"""Files that say what a model needs, a few kilobytes."""

_FIRST = ("model_index.json", "latentedit.json")
"""What says which other files a model has."""

_OF_TEXTS = ("*.json", "*.txt", "*.model", "*.jinja")
"""Of tokenizers and processors: vocabularies and chat templates."""

_COMMIT = re.compile(r"[0-9a-f]{40}")


def download_model(model_id: str, *, text_encoders: TextEncoders = "all") -> Path:
    """The snapshot folder of a diffusers model, downloaded unless it lies in the cache; all files of one commit.

    Each network comes as plain safetensors files, or as a half-precision copy (``*.bf16.*``, ``*.fp16.*``) without
    them. Neither pickles nor parts that the adapter does not read are downloaded.

    Args:
        model_id: ``org/name``, or ``org/name@revision``.
        text_encoders: "required" omits parts that the model can do without, such as SD3's T5.
    """
    name, _, revision = model_id.partition("@")
    place = download(model_id, wanted=_FIRST)
    parts = read_index(place, text_encoders=text_encoders).parts
    pinned = f"{name}@{commit_of(place) or revision}".removesuffix("@")
    wanted = [pattern for part, (library, _) in parts.items() for pattern in _files(part, library)]
    place = download(pinned, wanted=wanted)
    stems = {part: STEMS[library] for part, (library, _) in parts.items() if is_network(part)}
    if any(not (place / part).is_dir() for part in parts):
        names = {"config.json", "scheduler_config.json", *(f"{stem}.safetensors" for stem in stems.values())}
        return download(pinned, wanted=sorted(names))
    networks = [(place / part, stem) for part, stem in stems.items()]
    for variant in VARIANTS:
        if pipeline_variant(networks) is None and not all(stored_as(*network, None) for network in networks):
            download(pinned, wanted=[one for part in stems for one in _copies(part, stems[part], variant)])
    return place


def download(model_id: str, *, wanted: Sequence[str], unwanted: Sequence[str] = ()) -> Path:
    """The snapshot folder of a repository of the hub, with all files that match a pattern, downloaded or cached."""
    hub: Any = require("huggingface_hub", "hub")
    name, _, revision = model_id.partition("@")
    try:
        found = hub.snapshot_download(
            name, revision=revision or None, allow_patterns=list(wanted), ignore_patterns=list(unwanted)
        )
    except hub.errors.GatedRepoError as error:
        raise ModelError(
            f"{name} needs its licence accepted. Accept it at https://huggingface.co/{name}, then run: hf auth login"
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
    return Path(found)


def commit_of(place: Path) -> str | None:
    """The commit of a folder in the hub's cache; None elsewhere."""
    return place.name if place.parent.name == "snapshots" and _COMMIT.fullmatch(place.name) else None


def _files(part: str, library: str) -> list[str]:
    """Patterns of the files of a part that are read."""
    if part == "scheduler":
        return [f"{part}/scheduler_config.json"]
    if not is_network(part):
        return [f"{part}/{pattern}" for pattern in _OF_TEXTS]
    stem = STEMS[library]
    return [f"{part}/*.json", f"{part}/{stem}.safetensors", f"{part}/{stem}-?????-of-?????.safetensors"]


def _copies(part: str, stem: str, variant: str) -> list[str]:
    """Patterns of the weights of a half-precision copy."""
    return [
        f"{part}/{stem}.{variant}.safetensors",
        f"{part}/{stem}.{variant}-?????-of-?????.safetensors",
        f"{part}/{stem}-?????-of-?????.{variant}.safetensors",
    ]
