"""Captions from a vision-language model behind an endpoint that speaks OpenAI's chat completions."""

import base64
import io
import os
from typing import Any

import openai
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from latentedit.core.errors import CaptionError, ConfigError
from latentedit.latents.captions.base import INSTRUCTION, Captioner, clean_caption, one_line, to_images

_KEY_VARIABLE, _URL_VARIABLE = "OPENAI_API_KEY", "OPENAI_BASE_URL"
_MOST_LETTERS = 300  # of a server's answer, in an error


class VisionEndpoint(Captioner):
    """A model behind an endpoint, at temperature 0 with seed 0; law 2 holds as far as its server keeps to them.

    Each picture is a request of its own to ``{OPENAI_BASE_URL}/chat/completions``, by default OpenAI's, with the key in
    the environment variable ``OPENAI_API_KEY`` if there is one; up to three if the server is busy or unreachable.
    """

    def __init__(self, model: str, *, timeout_seconds: float = 60.0) -> None:
        if not model.strip():
            raise ConfigError("openai: names no model. Write openai:MODEL")
        self.model, self.name = model, f"openai:{model}"
        self._key, url = (os.environ.get(name, "").strip() for name in (_KEY_VARIABLE, _URL_VARIABLE))
        if not self._key and not url:
            raise CaptionError(
                f"there is no key in the environment variable {_KEY_VARIABLE}. "
                f"Set it, or set {_URL_VARIABLE} to an endpoint that needs none"
            )
        try:
            self._client = openai.OpenAI(
                api_key=self._key or "none", base_url=url or None, timeout=timeout_seconds, max_retries=2
            )
        except Exception as error:  # httpx has errors of its own for addresses
            raise ConfigError(f"{_URL_VARIABLE} is not a URL such as http://localhost:8000/v1. Set it again") from error

    def caption(self, pixels: Float[Tensor, "b 3 h w"]) -> list[str]:
        """One caption per picture; a `CaptionError` if a request fails or has no caption in its answer."""
        return [self._caption(image) for image in to_images(pixels)]

    def _caption(self, image: Image.Image) -> str:
        image.save(file := io.BytesIO(), format="PNG")
        url = f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"
        content: Any = [{"type": "text", "text": INSTRUCTION}, {"type": "image_url", "image_url": {"url": url}}]
        messages: Any = [{"role": "user", "content": content}]
        try:
            answer = self._client.chat.completions.create(model=self.model, messages=messages, temperature=0, seed=0)
            caption, reason = clean_caption(answer.choices[0].message.content or ""), "its answer has no text"
        except (openai.OpenAIError, AttributeError, IndexError, TypeError, ValueError) as error:
            caption, reason = "", one_line(str(error).replace(self._key or "none", "***"))[:_MOST_LETTERS]
        if not caption:  # outside of `except`: the error of the library may hold the key
            raise CaptionError(
                f"{self.name} returned no caption: {reason}. Check {_URL_VARIABLE} (most end in /v1), {_KEY_VARIABLE} "
                "and the model's name"
            )
        return caption
