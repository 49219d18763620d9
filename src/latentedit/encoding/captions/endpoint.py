"""Captions from a vision-language model behind an endpoint that speaks OpenAI's chat completions."""

import base64
import io
import os
from typing import Any

import openai
from PIL import Image

from latentedit.core.errors import CaptionError, ConfigError
from latentedit.encoding.captions.base import PromptedCaptioner, one_line

_KEY_VARIABLE, _URL_VARIABLE = "OPENAI_API_KEY", "OPENAI_BASE_URL"
_MOST_LETTERS = 300  # letters of a server's answer in an error


class VisionEndpoint(PromptedCaptioner):
    """A model behind an endpoint, at temperature 0 with seed 0; law 2 holds as far as its server keeps to them.

    Each image is a request of its own to ``{OPENAI_BASE_URL}/chat/completions``, by default OpenAI's, with the key in
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

    def answer(self, image: Image.Image, prompt: str) -> str:
        """The answer to a prompt; a `CaptionError` if the request fails or the answer has no text."""
        image.save(file := io.BytesIO(), format="PNG")
        url = f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"
        content: Any = [{"type": "text", "text": prompt}, {"type": "image_url", "image_url": {"url": url}}]
        messages: Any = [{"role": "user", "content": content}]
        try:
            answer = self._client.chat.completions.create(model=self.model, messages=messages, temperature=0, seed=0)
            text, reason = (answer.choices[0].message.content or "").strip(), "its answer has no text"
        except (openai.OpenAIError, AttributeError, IndexError, TypeError, ValueError) as error:
            text, reason = "", one_line(str(error).replace(self._key or "none", "***"))[:_MOST_LETTERS]
        if not text:  # outside of `except`: the error of the library may hold the key
            raise CaptionError(
                f"{self.name} returned no caption: {reason}. Check {_URL_VARIABLE} (most end in /v1), {_KEY_VARIABLE} "
                "and the model's name"
            )
        return text
