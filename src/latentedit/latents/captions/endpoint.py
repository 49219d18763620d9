"""Captions from a vision-language model behind an endpoint that speaks OpenAI's chat completions."""

import base64
import contextlib
import io
import json
import math
import os
import threading
import urllib.parse
from typing import Any

import openai
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from latentedit.core.errors import CaptionError, ConfigError
from latentedit.core.files.reading import parse_json
from latentedit.latents.captions.base import INSTRUCTION, Captioner, clean_caption, one_line, to_images

_KEY_VARIABLE = "OPENAI_API_KEY"
_URL_VARIABLE = "OPENAI_BASE_URL"
_DEFAULT_URL = "https://api.openai.com/v1"
_TRIES = 3  # of one request, where the server is busy, silent or out of reach
_DEADLINE = 5  # all tries of one picture together end after so many time-outs, however slowly bytes trickle in
_MAX_ANSWER_BYTES = 1_000_000  # a caption has some hundred
_QUOTED_LETTERS = 200  # of a server's answer, in an error
_SECRET_LETTERS = 16  # shorter keys are placeholders, such as "none"


class VisionEndpoint(Captioner):
    """A model behind an endpoint, asked at temperature 0 with seed 0; law 2 holds as far as its server keeps to them.

    Each picture is a request of its own: ``POST {OPENAI_BASE_URL}/chat/completions``, by default OpenAI's, with the key
    in the environment variable ``OPENAI_API_KEY`` if there is one. The key is read when it is sent and kept nowhere.
    A redirection is not followed, for it could carry the key elsewhere.

    Args:
        model: what the server calls it.
        timeout_seconds: how long the server may stay silent; all tries for one picture take five times that at most.

    Raises:
        ConfigError: no model, an address that is none, a key that cannot be sent, or a time-out that is not positive.
        CaptionError: OpenAI's own address without a key.
    """

    def __init__(self, model: str, *, timeout_seconds: float = 60.0) -> None:
        if not model.strip():
            raise ConfigError("openai: names no model. Say which, as in openai:MODEL")
        if not (math.isfinite(timeout_seconds) and timeout_seconds > 0):
            raise ConfigError(f"the time-out must be above 0 seconds; got {timeout_seconds}")
        self.model = model
        self.name = f"openai:{model}"
        self.url = f"{_base_url()}/chat/completions"
        self.timeout_seconds = timeout_seconds
        if not _key() and self.url == f"{_DEFAULT_URL}/chat/completions":
            raise CaptionError(
                f"there is no key in the environment variable {_KEY_VARIABLE}. "
                f"Set it, or set {_URL_VARIABLE} to an endpoint that needs none"
            )

    def caption(self, pixels: Float[Tensor, "b 3 h w"]) -> list[str]:
        """One caption a picture; pixels in [-1, 1].

        Raises:
            CaptionError: the endpoint cannot be reached, stays silent, refuses, or answers without a caption.

        Cost:
            One request a picture; up to three where the server is busy, silent or out of reach.
        """
        return [self._read(self._ask(image)) for image in to_images(pixels)]

    def _ask(self, image: Image.Image) -> bytes:
        """The server's answer to one picture."""
        key = _key()
        with (
            _Client() as transport,
            openai.OpenAI(
                api_key=key or "none",
                base_url=self.url.removesuffix("/chat/completions"),
                timeout=self.timeout_seconds,
                max_retries=_TRIES - 1,
                http_client=transport,
            ) as client,
        ):
            anonymous: Any = {} if key else {"Authorization": openai.Omit()}
            completions: Any = client.chat.completions.with_raw_response
            deadline = threading.Timer(_DEADLINE * self.timeout_seconds, transport.close)
            deadline.daemon = True
            deadline.start()
            try:
                return completions.create(**_request(self.model, image), extra_headers=anonymous).content
            except openai.APIStatusError as error:
                raise self._refusal(error.status_code, error.response.text) from None
            except Exception as error:  # noqa: BLE001 (what a hostile answer makes of a client is not all documented)
                late = isinstance(error, openai.APITimeoutError) or not deadline.is_alive()
                raise self._silence(error, late=late) from None
            finally:
                deadline.cancel()

    def _read(self, answer: bytes) -> str:
        """The caption in an answer."""
        try:
            content: Any = parse_json(answer)
        except ValueError:
            quoted = _quoted(answer.decode("utf-8", "replace"))
            raise CaptionError(
                f"{self.url} answers without JSON: {quoted!r}. Check {_URL_VARIABLE}: most addresses end in /v1"
            ) from None
        match content:
            case {"choices": [{"message": {"content": str(text)}}, *_]}:
                pass
            case {"choices": [{"message": {"content": None}}, *_]}:
                text = ""
            case _:
                quoted = _quoted(_message(content))
                raise CaptionError(
                    f"{self.url} answers without a choice that is a text: {quoted!r}. "
                    f"Check that {self.model} takes pictures"
                )
        caption = clean_caption(text)
        if not caption:
            raise CaptionError(
                f"{self.name} gave an empty text as a caption. Use another captioner, or give the caption yourself"
            )
        key = _key()
        if len(key) >= _SECRET_LETTERS and key in caption:
            raise CaptionError(f"{self.url} gave the key back as a caption. Do not use this endpoint")
        return caption

    def _refusal(self, status: int, body: str) -> CaptionError:
        """An error that the server answered with."""
        try:
            said = _quoted(_message(parse_json(body)))
        except ValueError:
            said = _quoted(body)
        answer = f"HTTP {status}" + (f": {said}" if said else "")
        if status == 401 and not _key():
            return CaptionError(f"{self.url} asks for a key ({answer}). Set {_KEY_VARIABLE}")
        if status < 400 or status == 404:
            advice = f"Check the model's name and {_URL_VARIABLE}"
        elif status in (401, 403):
            advice = f"Check the key in {_KEY_VARIABLE}"
        elif status == 429 or status >= 500:
            advice = "Try again later, or use another captioner"
        else:
            advice = f"Check that {self.model} takes pictures"
        return CaptionError(f"{self.url} gave no caption of {self.model} but {answer}. {advice}")

    def _silence(self, error: Exception, *, late: bool) -> CaptionError:
        """An answer that did not come, or not in time."""
        if late:
            seconds = self.timeout_seconds
            return CaptionError(
                f"{self.url} gave no answer in time ({seconds:g} s a try, {_DEADLINE * seconds:g} s in all). "
                "Try again later, or use another captioner"
            )
        reason = error.__cause__ or error
        said = _quoted(str(reason)) or type(reason).__name__
        return CaptionError(f"{self.url} cannot be reached: {said}. Check {_URL_VARIABLE} and the network")


class _Client(openai.DefaultHttpxClient):
    """Follows no redirection, and takes answers of a limited length, as they are sent: not unpacked."""

    def send(self, request: Any, **options: Any) -> Any:
        wanted: dict[str, Any] = options | {"stream": True, "follow_redirects": False}
        response: Any = super().send(request, **wanted)
        body = bytearray()
        with contextlib.closing(response):
            for part in response.iter_raw():
                body += part
                if len(body) > _MAX_ANSWER_BYTES:
                    raise openai.OpenAIError(f"it answers with more than {_MAX_ANSWER_BYTES} bytes")
        pause = {name: text for name, text in response.headers.items() if name.lower() == "retry-after"}
        return type(response)(response.status_code, headers=pause, content=bytes(body), request=request)


def _base_url() -> str:
    url = os.environ.get(_URL_VARIABLE, "").strip().rstrip("/") or _DEFAULT_URL
    try:
        parts = urllib.parse.urlsplit(url)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        sound, parts = False, urllib.parse.urlsplit("")
    plain = url.isascii() and url.isprintable() and " " not in url
    if not (sound and plain) or parts.username is not None or parts.query or parts.fragment:
        raise ConfigError(  # without the address itself, which may hold a password
            f"{_URL_VARIABLE} is no address such as http://localhost:8000/v1, without user, password and query. "
            "Set it again"
        )
    return url


def _key() -> str:
    key = os.environ.get(_KEY_VARIABLE, "").strip()
    if not (key.isascii() and key.isprintable() and " " not in key):  # else what sends it would quote it in an error
        raise ConfigError(f"the key in {_KEY_VARIABLE} has more than plain letters, digits and signs. Copy it again")
    return key


def _request(model: str, image: Image.Image) -> dict[str, Any]:
    file = io.BytesIO()
    image.save(file, format="PNG")
    picture = f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"
    content = [{"type": "text", "text": INSTRUCTION}, {"type": "image_url", "image_url": {"url": picture}}]
    return {"model": model, "messages": [{"role": "user", "content": content}], "temperature": 0, "seed": 0}


def _message(content: Any) -> str:
    """What an answer says went wrong, or the answer itself."""
    match content:
        case {"error": {"message": str(text)}} | {"error": str(text)} | {"message": str(text)} | {"detail": str(text)}:
            return text
        case _:
            return json.dumps(content, ensure_ascii=False)


def _quoted(text: str) -> str:
    """What a server said, fit to be shown: without the key, in one line, cut."""
    key = _key()
    for spelling in {key, urllib.parse.quote(key, safe="")} - {""}:
        text = text.replace(spelling, "***")
    line = one_line(text)
    return line if len(line) <= _QUOTED_LETTERS else f"{line[:_QUOTED_LETTERS].rstrip()} [...]"
