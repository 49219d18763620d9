import json
import traceback
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from latentedit.core.errors import CaptionError, ConfigError
from latentedit.encoding.captions.base import INSTRUCTION, Captioner, make_captioner
from latentedit.encoding.captions.endpoint import VisionEndpoint
from latentedit.testing.contracts.captioner import CaptionerContract
from tests.encoding.fake_endpoint import Answer, FakeEndpoint, fake_endpoint, text_answer
from tests.testing.gaussian_mixture import example_mixture

KEY = "sk-test/a+very=secret-key_0123456789"
PIXELS = torch.linspace(-1, 1, 3 * 5 * 7).reshape(1, 3, 5, 7)


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeEndpoint]:
    with fake_endpoint() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setattr("openai._base_client.time.sleep", lambda _: None)
        yield server


def error_answer(status: int, text: str) -> Answer:
    """An error in OpenAI's format."""
    return Answer(status=status, body=json.dumps({"error": {"message": text, "type": "t", "code": None}}).encode())


class TestVisionEndpoint(CaptionerContract):
    @pytest.fixture
    def captioner(self, endpoint: FakeEndpoint) -> Captioner:
        return VisionEndpoint("m")


def test_requests_contain_the_image_and_the_instruction(endpoint: FakeEndpoint) -> None:
    endpoint.answers = [text_answer(' "A man\nwith a beard, a red wall." ')]
    assert VisionEndpoint("m").caption(PIXELS) == ["A man with a beard, a red wall"]
    (request,) = endpoint.requests
    assert request.path == "/v1/chat/completions"
    assert request.headers["Authorization"] == f"Bearer {KEY}"
    assert request.headers["Content-Type"] == "application/json"
    assert request.body.items() >= {"model": "m", "temperature": 0, "seed": 0}.items()
    (request_message,) = request.body["messages"]
    assert request_message["role"] == "user"
    assert [part["text"] for part in request_message["content"] if part["type"] == "text"] == [INSTRUCTION]
    sent = torch.from_numpy(np.array(request.image)).permute(2, 0, 1) / 127.5 - 1
    assert request.image.size == (7, 5)
    assert float((sent - PIXELS[0]).abs().max()) <= 0.5 / 127.5 + 1e-6


@pytest.mark.slow_except("answer3-1-403", "answer6-1-OPENAI_BASE_URL")
@pytest.mark.parametrize(
    ("answer", "tries", "message"),
    [
        (error_answer(500, "broken"), 3, "broken"),
        (error_answer(401, f"Incorrect API key: {KEY}."), 1, "Incorrect API key: ***"),
        (error_answer(404, "no m"), 1, "no m"),
        (Answer(status=403, body=b"<html>\n<p>no</p>"), 1, "403"),
        (error_answer(400, "long " * 1000), 1, "long long"),
        (Answer(body=b'{"choices"', truncated=True), 3, "Connection error"),
        (Answer(body=b"<html>welcome</html>"), 1, "OPENAI_BASE_URL"),
        (Answer(body=b'{"choices": []}'), 1, "OPENAI_BASE_URL"),
        (Answer(body=b'{"error": {"message": "no such model"}}'), 1, "OPENAI_BASE_URL"),
        (text_answer(""), 1, "no text"),
        (text_answer(None), 1, "no text"),
    ],
)
def test_failures_name_the_setting_and_hide_the_key(
    endpoint: FakeEndpoint, answer: Answer, tries: int, message: str
) -> None:
    endpoint.answers = [answer] * 5
    with pytest.raises(CaptionError) as error:
        VisionEndpoint("m").caption(PIXELS)
    text = str(error.value)
    assert message in text
    assert (len(text.splitlines()), len(text) < 500, len(endpoint.requests)) == (1, True, tries)
    assert KEY not in "".join(traceback.format_exception(error.value))


def test_missing_settings_are_rejected_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(CaptionError):
        VisionEndpoint("m")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://localhost:8000/v1")
    captioner = make_captioner("openai:org/m:8b", example_mixture(dimension=2))
    assert isinstance(captioner, VisionEndpoint)
    assert (captioner.model, captioner.name) == ("org/m:8b", "openai:org/m:8b")
    for name in ("openai:", "openai: "):
        with pytest.raises(ConfigError):
            make_captioner(name, example_mixture(dimension=2))
