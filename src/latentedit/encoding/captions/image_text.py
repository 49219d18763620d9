"""Captions from the image-to-text models of transformers: BLIP, Florence-2, and models that chat."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from transformers import AutoModelForImageTextToText, AutoProcessor

from latentedit.core.errors import MissingDependencyError, ModelError
from latentedit.core.files import user_path
from latentedit.core.plugins import HUB_ID
from latentedit.encoding.captions.base import INSTRUCTION, Captioner, PromptedCaptioner
from latentedit.encoding.captions.completion import Completion
from latentedit.models.libraries import quiet_libraries
from latentedit.models.loading import download

_DOWNLOADED = ("*.json", "*.safetensors", "*.txt", "*.model", "*.jinja")
_NOT_DOWNLOADED = ("*.fp16*", "*/*")
_FLORENCE_TASK = "<MORE_DETAILED_CAPTION>"
_CAPTION_TOKENS = 77  # tokens that CLIP's text encoder reads
_ANSWER_TOKENS = 192  # tokens of other answers: two captions, or phrases for two and contradictions


class ImageToText(PromptedCaptioner):
    """A model that describes images: greedily decoded, one image at a time, so that others do not matter.

    A model with a chat template gets the prompt, Florence-2 its task of a detailed caption, any other the image
    alone; the last two describe the image whatever the prompt is.
    """

    def __init__(self, network: Any, processor: Any, *, name: str) -> None:
        self.name = name
        self._network = network
        self._processor = processor
        self._chats = getattr(processor, "chat_template", None) is not None

    @classmethod
    def from_name(cls, name: str, *, device: torch.device | str = "cpu") -> "ImageToText":
        """Load a folder or a hub id from safetensors, in its stored dtype; code that comes with it is never run."""
        folder = user_path(name, error=ModelError)
        if not folder.is_dir():
            if folder.exists() or not HUB_ID.fullmatch(name):
                raise ModelError(f"{name!r} is neither the folder nor the hub id (org/name) of a model. Check it")
            folder = download(name, allow_patterns=_DOWNLOADED, ignore_patterns=_NOT_DOWNLOADED)
        network_class: Any = AutoModelForImageTextToText  # its annotations do not know ``output_loading_info``
        try:
            with quiet_libraries():
                processor = AutoProcessor.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
                network, report = network_class.from_pretrained(
                    folder,
                    torch_dtype="auto",  # the name of `dtype` in transformers before 4.56
                    use_safetensors=True,
                    local_files_only=True,
                    trust_remote_code=False,
                    output_loading_info=True,
                )
        except Exception as error:  # configurations, tokenizers and weights fail in as many ways as there are models
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            if isinstance(error, ImportError):
                reason = reason.partition(". ")[0]
                raise MissingDependencyError(f"{name} needs a package that is missing: {reason}") from error
            raise ModelError(
                f"{name} does not load as an image-to-text model from safetensors: {reason}. "
                "Download it again, or convert pickles with save_pretrained"
            ) from error
        if report["missing_keys"] or not hasattr(processor, "image_processor"):
            missing = ", ".join(sorted(report["missing_keys"])[:1]) or "image processor"
            raise ModelError(f"the model {name} is incomplete: it lacks {missing}. Download or copy the folder again")
        return cls(network.eval().requires_grad_(False).to(device), processor, name=name)

    def caption(self, pixels: Float[Tensor, "b 3 h w"]) -> list[str]:
        """One caption an image; a `ModelError` if one is empty."""
        captions = super().caption(pixels)
        if not all(captions):
            raise ModelError(f"{self.name} returned an empty caption. Use another captioner, or pass a caption")
        return captions

    def complete(self, pixels: Float[Tensor, "b 3 h w"], pairs: Sequence[tuple[str, str]]) -> list[Completion]:
        """Each pair by one answer, or by a caption from models that take no prompt."""
        return super().complete(pixels, pairs) if self._chats else Captioner.complete(self, pixels, pairs)

    def describe_both(self, pixels: Float[Tensor, "b 3 h w"], request: str) -> list[Completion]:
        """Each pair by one answer; a `ConfigError` from models that take no prompt."""
        return super().describe_both(pixels, request) if self._chats else Captioner.describe_both(self, pixels, request)

    def answer(self, image: Image.Image, prompt: str) -> str:
        """The answer of a model with a chat template; a description by others."""
        most = _CAPTION_TOKENS if prompt == INSTRUCTION else _ANSWER_TOKENS
        with quiet_libraries():
            inputs = self._inputs(image, prompt).to(self._network.device, self._network.dtype)
            tokens = self._network.generate(**inputs, do_sample=False, num_beams=1, max_new_tokens=most)
            if self._chats:
                tokens = tokens[:, inputs["input_ids"].shape[1] :]
            return self._processor.batch_decode(tokens, skip_special_tokens=True)[0]

    def _inputs(self, image: Image.Image, prompt: str) -> Any:
        if self._chats:
            content = [{"type": "image", "image": image}, {"type": "text", "text": prompt}]
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
