"""Captions from a vision-language model behind an endpoint that speaks OpenAI's chat completions."""

import base64
import http.client
import io
import json
import math
import os
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from email.message import Message
from typing import Any

from jaxtyping import Float
from PIL import Image
from torch import Tensor

from latentedit.core.errors import CaptionError, ConfigError
from latentedit.latents.captions.base import INSTRUCTION, Captioner, clean_caption, one_line, to_images

_KEY_VARIABLE = "OPENAI_API_KEY"
_URL_VARIABLE = "OPENAI_BASE_URL"
_DEFAULT_URL = "https://api.openai.com/v1"
_TRIES = 3
_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 30.0
_QUOTED_LETTERS = 200
_SECRET_LETTERS = 16


class VisionEndpoint(Captioner):
    """A model behind an endpoint, asked at temperature 0 with seed 0; law 2 holds as far as its server keeps to them.

    Each picture is a request of its own: ``POST {OPENAI_BASE_URL}/chat/completions``, by default OpenAI's, with the key
    in the environment variable ``OPENAI_API_KEY`` if there is one. The key is read when it is sent and kept nowhere.
    A redirection is not followed, for it could carry the key elsewhere.

    Args:
        model: what the server calls it.
        timeout_seconds: how long the server may stay silent.
        sleep: waits for so many seconds between tries.

    Raises:
        ConfigError: no model, an address that is none, a key that cannot be sent, or a time-out that is not positive.
        CaptionError: OpenAI's own address without a key.
    """

    def __init__(
        self, model: str, *, timeout_seconds: float = 60.0, sleep: Callable[[float], object] = time.sleep
    ) -> None:
        if not model.strip():
            raise ConfigError("expected the name of a model after openai:; got none. Say which, as in openai:MODEL")
        if not (math.isfinite(timeout_seconds) and timeout_seconds > 0):
            raise ConfigError(f"expected a time-out above 0 seconds; got {timeout_seconds}")
        self.model = model
        self.name = f"openai:{model}"
        self.url = f"{_base_url()}/chat/completions"
        self.timeout_seconds = timeout_seconds
        self._sleep = sleep
        self._opener = urllib.request.build_opener(_NoRedirection)
        if not _key() and self.url == f"{_DEFAULT_URL}/chat/completions":
            raise CaptionError(
                f"expected a key in the environment variable {_KEY_VARIABLE}; there is none. "
                f"Set it, or set {_URL_VARIABLE} to an endpoint that needs none"
            )

    def caption(self, pixels: Float[Tensor, "b 3 h w"]) -> list[str]:
        """One caption a picture; pixels in [-1, 1].

        Raises:
            CaptionError: the endpoint cannot be reached, stays silent, refuses, or answers without a caption.

        Cost:
            One request a picture; up to three where the server is busy, silent or out of reach.
        """
        return [self._read(self._ask(_request_body(self.model, image))) for image in to_images(pixels)]

    def _ask(self, body: bytes) -> bytes:
        """The server's answer, after up to three tries."""
        request = urllib.request.Request(self.url, data=body, headers=_headers(), method="POST")
        pause, tries = _FIRST_PAUSE_SECONDS, 0
        while True:
            tries, asked_pause = tries + 1, None
            try:
                with self._opener.open(request, timeout=self.timeout_seconds) as answer:
                    return answer.read()
            except urllib.error.HTTPError as error:
                failure = self._refusal(error)
                again = error.code == 429 or error.code >= 500
                asked_pause = _retry_after(error.headers)
            except (OSError, http.client.HTTPException, UnicodeError) as error:
                failure = self._silence(error)
                again = True
            if not again or tries == _TRIES:
                raise failure
            self._sleep(pause if asked_pause is None else asked_pause)
            pause *= 2

    def _read(self, answer: bytes) -> str:
        """The caption in an answer."""
        try:
            content: Any = json.loads(answer)
        except (ValueError, RecursionError):
            quoted = _quoted(answer.decode("utf-8", "replace"))
            raise CaptionError(
                f"expected JSON from {self.url}; got {quoted!r}. Check {_URL_VARIABLE}: most addresses end in /v1"
            ) from None
        match content:
            case {"choices": [{"message": {"content": str(text)}}, *_]}:
                pass
            case {"choices": [{"message": {"content": None}}, *_]}:
                text = ""
            case _:
                quoted = _quoted(_message(content))
                raise CaptionError(
                    f"expected an answer with a choice that is a text from {self.url}; got {quoted!r}. "
                    f"Check that {self.model} takes pictures"
                )
        caption = clean_caption(text)
        if not caption:
            raise CaptionError(
                f"expected a caption from {self.name}; got an empty text. "
                "Use another captioner, or give the caption yourself"
            )
        key = _key()
        if len(key) >= _SECRET_LETTERS and key in caption:  # shorter ones are placeholders, such as "none"
            raise CaptionError(f"expected a caption from {self.url}; got the key back. Do not use this endpoint")
        return caption

    def _refusal(self, error: urllib.error.HTTPError) -> CaptionError:
        """An error that the server answered with."""
        with error:
            try:
                body = error.read().decode("utf-8", "replace")
            except (OSError, http.client.HTTPException):
                body = ""
        try:
            said = _quoted(_message(json.loads(body)))
        except (ValueError, RecursionError):
            said = _quoted(body)
        got = f"HTTP {error.code}" + (f": {said}" if said else "")
        if error.code == 401 and not _key():
            return CaptionError(f"expected a key for {self.url}; got {got}. Set {_KEY_VARIABLE}")
        if error.code < 400 or error.code == 404:
            advice = f"Check the model's name and {_URL_VARIABLE}"
        elif error.code in (401, 403):
            advice = f"Check the key in {_KEY_VARIABLE}"
        elif error.code == 429 or error.code >= 500:
            advice = "Try again later, or use another captioner"
        else:
            advice = f"Check that {self.model} takes pictures"
        return CaptionError(f"expected a caption of {self.model} from {self.url}; got {got}. {advice}")

    def _silence(self, error: Exception) -> CaptionError:
        """An answer that did not come."""
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        if isinstance(reason, TimeoutError):
            return CaptionError(
                f"expected an answer from {self.url} within {self.timeout_seconds:g} s; got none in {_TRIES} tries. "
                "Try again later, or use another captioner"
            )
        said = _quoted(str(reason)) or type(reason).__name__
        return CaptionError(
            f"expected an answer from {self.url}; got none in {_TRIES} tries: {said}. "
            f"Check {_URL_VARIABLE} and the network"
        )


class _NoRedirection(urllib.request.HTTPRedirectHandler):
    """Redirections are errors."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Message, newurl: str
    ) -> None:
        del req, fp, code, msg, headers, newurl


def _base_url() -> str:
    url = os.environ.get(_URL_VARIABLE, "").strip().rstrip("/") or _DEFAULT_URL
    try:
        parts = urllib.parse.urlsplit(url)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        raise _bad_address() from None
    plain = url.isascii() and url.isprintable() and " " not in url
    if not (sound and plain) or parts.username is not None or parts.query or parts.fragment:
        raise _bad_address()
    return url


def _bad_address() -> ConfigError:
    """Without the address itself, which may hold a password."""
    return ConfigError(
        f"expected {_URL_VARIABLE} to be an address such as http://localhost:8000/v1, without user, password and "
        "query; got something else. Set it again"
    )


def _key() -> str:
    key = os.environ.get(_KEY_VARIABLE, "").strip()
    if not (key.isascii() and key.isprintable() and " " not in key):  # else what sends it would quote it in an error
        raise ConfigError(
            f"expected the key in {_KEY_VARIABLE} to be plain letters, digits and signs; got others. Copy it again"
        )
    return key


def _headers() -> dict[str, str]:
    key = _key()
    authorization = {"Authorization": f"Bearer {key}"} if key else {}
    return {"Content-Type": "application/json", "User-Agent": "latentedit", **authorization}


def _request_body(model: str, image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, format="PNG")
    picture = f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"
    content = [{"type": "text", "text": INSTRUCTION}, {"type": "image_url", "image_url": {"url": picture}}]
    body = {"model": model, "messages": [{"role": "user", "content": content}], "temperature": 0, "seed": 0}
    return json.dumps(body).encode()


def _retry_after(headers: Message) -> float | None:
    """Seconds that the server asks to wait, up to a limit; None where it does not say so in seconds."""
    asked = re.fullmatch(r"\d{1,9}", headers.get("Retry-After", "").strip(), re.ASCII)
    return min(float(asked[0]), _LONGEST_PAUSE_SECONDS) if asked else None


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
