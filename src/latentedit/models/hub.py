"""Models of the Hugging Face hub, downloaded into its cache."""

from collections.abc import Sequence
from pathlib import Path

from latentedit.core.errors import ModelError, require
from latentedit.models.loading import TextEncoders
from latentedit.models.weights import PICKLE_SUFFIXES

PIPELINE_FILES = (
    "model_index.json",
    "latentedit.json",
    "config.json",
    "scheduler_config.json",
    "diffusion_pytorch_model.safetensors",
    "*/*.json",
    "*/*.safetensors",
    "*/*.txt",
    "*/*.model",
    "*/*.jinja",
)
_NOT_DOWNLOADED = (
    "*.fp16*",
    "*.non_ema*",
    "safety_checker/*",
    "feature_extractor/*",
    "image_encoder/*",
    *(f"*{suffix}" for suffix in sorted(PICKLE_SUFFIXES)),
)

CONFIGURATIONS = ("model_index.json", "latentedit.json", "config.json", "*/config.json")
"""Files that say what a model needs, a few kilobytes."""


def download(
    model_id: str,
    *,
    text_encoders: TextEncoders = "all",
    wanted: Sequence[str] = PIPELINE_FILES,
    unwanted: Sequence[str] = _NOT_DOWNLOADED,
) -> Path:
    """The snapshot folder of a model on the hub, downloaded unless it lies in the cache.

    Pickles and half-precision copies are left out.

    Args:
        model_id: ``org/name``, or ``org/name@revision``.
        text_encoders: "required" leaves out the third text encoder, by far the largest part of SD3.
        wanted: patterns of the files that are downloaded; those of a diffusers pipeline by default.
        unwanted: patterns of those among them that are not.

    Raises:
        ModelError: with what to do: no such model, a licence to accept, or no network.
    """
    hub = require("huggingface_hub", "hub")
    name, _, revision = model_id.partition("@")
    skipped = unwanted if text_encoders == "all" else (*unwanted, "text_encoder_3/*", "tokenizer_3/*")
    try:
        found = hub.snapshot_download(
            name, revision=revision or None, allow_patterns=list(wanted), ignore_patterns=list(skipped)
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
