"""Captions from the image-to-text models that transformers knows: BLIP, Florence-2, and models that chat."""

import re
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from transformers import AutoModelForImageTextToText, AutoProcessor

from latentedit.core.errors import MissingDependencyError, ModelError
from latentedit.latents.captions.base import INSTRUCTION, Captioner, clean_caption, to_images
from latentedit.models.hub import download
from latentedit.models.libraries import quiet_libraries
from latentedit.models.weights import refuse_pickles
from latentedit_keep.files import user_path

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+(@[\w./-]+)?")
_DOWNLOADED = ("*.json", "*.safetensors", "*.txt", "*.model", "*.jinja")
_NOT_DOWNLOADED = ("*.fp16*", "*/*")
_FLORENCE_TASK = "<MORE_DETAILED_CAPTION>"
_MAX_NEW_TOKENS = 77  # what CLIP's text encoder reads


class ImageToText(Captioner):
    """A model that says what a picture shows: greedily decoded, a picture at a time, so that neighbours do not matter.

    A model with a chat template gets `INSTRUCTION`, Florence-2 its task of a detailed caption, any other the picture
    alone.

    Args:
        network: of ``AutoModelForImageTextToText``, on its device.
        processor: of ``AutoProcessor``, from the same folder.
        name: what errors call it.
    """

    def __init__(self, network: Any, processor: Any, *, name: str) -> None:
        self.name = name
        self._network = network
        self._processor = processor
        self._chats = getattr(processor, "chat_template", None) is not None

    @classmethod
    def from_name(cls, name: str, *, device: torch.device | str = "cpu") -> "ImageToText":
        """Load a model: safetensors only, in the dtype that it is stored in; code that comes with it is never run.

        Args:
            name: a folder as ``save_pretrained`` writes it, or a hub id, ``org/name`` or ``org/name@revision``, which
                is downloaded unless it lies in the cache.
            device: where it runs.

        Raises:
            ModelError: no such folder or id, no network, a folder that is incomplete, damaged or unsafe, or a model of
                another kind.
            MissingDependencyError: a model whose processor needs a package that is not installed.
        """
        folder = _folder(name)
        with quiet_libraries():
            network = _load_network(folder, name)
            processor = _load_processor(folder, name)
        return cls(network.to(device), processor, name=name)

    def caption(self, pixels: Float[Tensor, "b 3 h w"]) -> list[str]:
        """One caption a picture; pixels in [-1, 1].

        Raises:
            ModelError: the model says nothing about a picture.
        """
        return [self._caption(image) for image in to_images(pixels)]

    def _caption(self, image: Image.Image) -> str:
        with quiet_libraries():
            inputs = self._inputs(image).to(self._network.device, self._network.dtype)
            tokens = self._network.generate(**inputs, do_sample=False, num_beams=1, max_new_tokens=_MAX_NEW_TOKENS)
            if self._chats:
                tokens = tokens[:, inputs["input_ids"].shape[1] :]
            text = clean_caption(self._processor.batch_decode(tokens, skip_special_tokens=True)[0])
        if not text:
            raise ModelError(
                f"{self.name} says nothing of a picture. Use another captioner, or give the caption yourself"
            )
        return text

    def _inputs(self, image: Image.Image) -> Any:
        if self._chats:
            content = [{"type": "image", "image": image}, {"type": "text", "text": INSTRUCTION}]
            return self._processor.apply_chat_template(
                [{"role": "user", "content": content}],
                add_generation_prompt=True,
                tokenize=True,
                return_dict=True,
                return_tensors="pt",
            )
        if self._network.config.model_type == "florence2":
            return self._processor(images=image, text=_FLORENCE_TASK, return_tensors="pt")
        return self._processor(images=image, return_tensors="pt")


def _folder(name: str) -> Path:
    """The folder of that name, or that of a hub id in the cache, downloaded unless it is there."""
    path = user_path(name, error=ModelError)
    if path.is_dir():
        refuse_pickles(path)
        return path
    if path.exists() or not _HUB_ID.fullmatch(name):
        raise ModelError(f"{name!r} is neither the folder nor the hub id (org/name) of a model. Check it")
    return download(name, wanted=_DOWNLOADED, unwanted=_NOT_DOWNLOADED)


def _load_network(folder: Path, name: str) -> Any:
    model_class: Any = AutoModelForImageTextToText
    try:
        network, report = model_class.from_pretrained(
            folder,
            torch_dtype="auto",  # transformers before 4.56 know no other name
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    except Exception as error:  # configurations and weights fail in as many ways as there are models
        raise _not_loaded(name, "an image-to-text model", error) from error
    missing = sorted(report["missing_keys"])
    if missing:
        raise ModelError(
            f"the weights of {name} lack the tensor {missing[0]} and {len(missing) - 1} more. "
            "Download or copy the folder again"
        )
    return network.eval().requires_grad_(False)


def _load_processor(folder: Path, name: str) -> Any:
    try:
        processor = AutoProcessor.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # the tokenizers library raises bare exceptions
        raise _not_loaded(name, "the processor of an image-to-text model", error) from error
    if not hasattr(processor, "image_processor"):
        raise ModelError(
            f"{name} has no processor of pictures but a {type(processor).__name__} alone. "
            "Download or copy the folder again, or use another model"
        )
    return processor


def _not_loaded(name: str, what: str, error: Exception) -> ModelError | MissingDependencyError:
    """The first line of what a library says, as an error of ours."""
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    if isinstance(error, ImportError):
        return MissingDependencyError(
            f"a package that {name} needs is missing: {reason.partition('. ')[0]}. Install it with pip"
        )
    return ModelError(f"{name} does not load as {what}: {reason}. Download or copy it again, or use another model")
