import json
import traceback
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from latentedit.core.errors import CaptionError, ConfigError
from latentedit.latents.captions.base import INSTRUCTION, Captioner
from latentedit.latents.captions.endpoint import VisionEndpoint
from latentedit.testing.contracts.captioner import CaptionerContract
from tests.latents.fake_endpoint import Answer, FakeEndpoint, fake_endpoint, states

pytestmark = pytest.mark.slow

KEY = "sk-test/a+very=secret-key_0123456789"
PIXELS = torch.linspace(-1, 1, 3 * 5 * 7).reshape(1, 3, 5, 7)
CUT = Answer(body=b'{"choices"', cut=True)


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeEndpoint]:
    with fake_endpoint() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setattr("openai._base_client.time.sleep", lambda _: None)
        yield server


def failing(status: int, message: object = "no", **headers: str) -> Answer:
    """An error in OpenAI's form."""
    body = json.dumps({"error": {"message": message, "type": "t", "code": None}}).encode()
    named = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return Answer(status=status, body=body, headers=named)


def captioner(*, timeout_seconds: float = 20.0) -> VisionEndpoint:
    return VisionEndpoint("m", timeout_seconds=timeout_seconds)


def failure(timeout_seconds: float = 20.0) -> CaptionError:
    """What a caption fails with: one line, without the key, as is everything that a traceback would print."""
    with pytest.raises(CaptionError) as caught:
        captioner(timeout_seconds=timeout_seconds).caption(PIXELS)
    assert len(str(caught.value).splitlines()) == 1
    assert KEY not in "".join(traceback.format_exception(caught.value))
    return caught.value


class TestVisionEndpoint(CaptionerContract):
    @pytest.fixture
    def captioner(self, endpoint: FakeEndpoint) -> Captioner:
        return captioner()


def test_a_request_holds_the_image_and_the_instruction(endpoint: FakeEndpoint) -> None:
    endpoint.answers = [states(' "A man\nwith a beard, a red wall." ')]
    assert captioner().caption(PIXELS) == ["A man with a beard, a red wall"]
    (request,) = endpoint.requests
    assert request.path == "/v1/chat/completions"
    assert request.headers["Authorization"] == f"Bearer {KEY}"
    assert request.headers["Content-Type"] == "application/json"
    assert request.body.items() >= {"model": "m", "temperature": 0, "seed": 0}.items()
    (message,) = request.body["messages"]
    assert message["role"] == "user"
    assert [part["text"] for part in message["content"] if part["type"] == "text"] == [INSTRUCTION]
    shown = torch.from_numpy(np.array(request.image)).permute(2, 0, 1) / 127.5 - 1
    assert request.image.size == (7, 5)
    assert float((shown - PIXELS[0]).abs().max()) <= 0.5 / 127.5 + 1e-6


@pytest.mark.parametrize(
    ("answer", "tries", "words"),
    [
        (failing(500, "broken"), 3, "broken"),
        (failing(401, f"Incorrect API key: {KEY}."), 1, "Incorrect API key: ***"),
        (failing(404, "no m"), 1, "no m"),
        (Answer(status=403, body=b"<html>\n<p>no</p>"), 1, "403"),
        (failing(400, "long " * 1000), 1, "long long"),
        (CUT, 3, "Connection error"),
        (Answer(body=b"<html>welcome</html>"), 1, "OPENAI_BASE_URL"),
        (Answer(body=b'{"choices": []}'), 1, "OPENAI_BASE_URL"),
        (Answer(body=b'{"error": {"message": "no such model"}}'), 1, "OPENAI_BASE_URL"),
        (states(""), 1, "no text"),
        (states(None), 1, "no text"),
    ],
)
def test_failures_name_the_endpoint_s_settings_and_hide_the_key(
    endpoint: FakeEndpoint, answer: Answer, tries: int, words: str
) -> None:
    endpoint.answers = [answer] * 5
    text = str(failure())
    assert words in text
    assert len(text) < 500
    assert len(endpoint.requests) == tries


def test_what_cannot_work_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(CaptionError):
        VisionEndpoint("m")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://localhost:8000/v1")
    assert VisionEndpoint("m").name == "openai:m"
    with pytest.raises(ConfigError):
        VisionEndpoint(" ")
