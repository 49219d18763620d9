import dataclasses
import gzip
import json
import re
import socket
import traceback
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from latentedit.core.errors import CaptionError, ConfigError
from latentedit.latents.captions.base import INSTRUCTION, Captioner
from latentedit.latents.captions.endpoint import VisionEndpoint
from latentedit.testing.contracts.captioner import CaptionerContract
from tests.latents.fake_endpoint import Answer, FakeEndpoint, fake_endpoint, says

pytestmark = pytest.mark.slow

KEY = "sk-test/a+very=secret-key_0123456789"
PIXELS = torch.linspace(-1, 1, 3 * 5 * 7).reshape(1, 3, 5, 7)
CUT = Answer(body=b'{"choices"', cut=True)
PAUSES: list[float] = []
"""Seconds that the client would have waited between tries."""
SILENT = dataclasses.replace(says("too late"), silent=True)


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeEndpoint]:
    with fake_endpoint() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setattr("openai._base_client.time.sleep", PAUSES.append)
        PAUSES.clear()
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


def test_a_request_holds_the_picture_and_the_instruction(endpoint: FakeEndpoint) -> None:
    endpoint.answers = [says(' "A man\nwith a beard, a red wall." ')]
    assert captioner().caption(PIXELS) == ["A man with a beard, a red wall"]
    (request,) = endpoint.requests
    assert request.path == "/v1/chat/completions"
    assert request.headers["Authorization"] == f"Bearer {KEY}"
    assert request.headers["Content-Type"] == "application/json"
    assert request.body.items() >= {"model": "m", "temperature": 0, "seed": 0}.items()
    (message,) = request.body["messages"]
    assert message["role"] == "user"
    assert [part["text"] for part in message["content"] if part["type"] == "text"] == [INSTRUCTION]
    shown = torch.from_numpy(np.array(request.picture)).permute(2, 0, 1) / 127.5 - 1
    assert request.picture.size == (7, 5)
    assert float((shown - PIXELS[0]).abs().max()) <= 0.5 / 127.5 + 1e-6


@pytest.mark.parametrize(
    ("answers", "pauses"),
    [
        ([failing(429), failing(500)], [0.5, 1.0]),
        ([CUT, failing(529)], [0.5, 1.0]),
        ([failing(429, Retry_After="7"), failing(503)], [7.0, 1.0]),
        ([failing(429, Retry_After="-5")], [0.5]),
    ],
)
def test_a_busy_server_is_asked_again(endpoint: FakeEndpoint, answers: list[Answer], pauses: list[float]) -> None:
    count = len(answers)
    endpoint.answers = [*answers, says("a man")]
    assert captioner().caption(PIXELS) == ["a man"]
    assert len(PAUSES) == len(pauses)
    assert all(0.7 * pause <= waited <= pause for waited, pause in zip(PAUSES, pauses, strict=True))
    assert len(endpoint.requests) == count + 1
    assert all(request.body == endpoint.requests[0].body for request in endpoint.requests)


@pytest.mark.parametrize(
    ("answer", "tries", "words"),
    [
        (failing(500, "broken"), 3, "HTTP 500: broken. Try again later"),
        (failing(400, "not a\n vision\x1b[31m model"), 1, "HTTP 400: not a vision [31m model. Check that m takes"),
        (failing(401, "bad key"), 1, "HTTP 401: bad key. Check the key in OPENAI_API_KEY"),
        (failing(404, "no m"), 1, "HTTP 404: no m. Check the model's name and OPENAI_BASE_URL"),
        (Answer(status=418, body=b'{"detail": "a teapot"}'), 1, "HTTP 418: a teapot."),
        (Answer(status=403, body=b"<html>\n<p>no</p>"), 1, "HTTP 403: <html> <p>no</p>. Check the key"),
        (failing(400, "long " * 1000), 1, "long [...]. Check"),
        (CUT, 3, "cannot be reached: "),
    ],
)
def test_errors_say_what_the_server_said(endpoint: FakeEndpoint, answer: Answer, tries: int, words: str) -> None:
    endpoint.answers = [answer] * 5
    said = str(failure())
    assert words in said
    assert endpoint.url in said
    assert len(said) < 500
    assert len(endpoint.requests) == tries


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Answer(body=b"<html>welcome</html>"), "answers without JSON: '<html>welcome</html>'. Check OPENAI_BASE"),
        (Answer(body=b"\xff\xfe"), "without JSON"),
        (Answer(body=b'{"choices": []}'), r"a choice that is a text: '\{\"choices\": \[\]\}'"),
        (Answer(body=b'{"error": {"message": "no such model"}}'), "a choice .*: 'no such model'"),
        (says(["a man"]), "a choice"),
        (says(""), "openai:m gave an empty text"),
        (says(None), "gave an empty text"),
    ],
)
def test_answers_without_a_caption_are_refused(endpoint: FakeEndpoint, answer: Answer, words: str) -> None:
    endpoint.answers = [answer]
    with pytest.raises(CaptionError, match=words):
        raise failure()
    assert len(endpoint.requests) == 1


@pytest.mark.nightly
def test_a_silent_server_is_given_up(endpoint: FakeEndpoint) -> None:
    endpoint.answers = [SILENT] * 3
    assert "gave no answer in time (0.3 s a try, 1.5 s in all). Try again later" in str(failure(timeout_seconds=0.3))
    assert len(endpoint.requests) == 3
    endpoint.answers = [SILENT]
    assert captioner(timeout_seconds=0.5).caption(PIXELS)[0].startswith("a picture with the hash")


def test_a_server_that_is_not_there_is_named(endpoint: FakeEndpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))  # taken, so that no other can, but not listened at
        monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{free.getsockname()[1]}/v1")
        assert re.search(r"cannot be reached: .*refused.* Check OPENAI_BASE_URL and the net", str(failure()))
    assert len(PAUSES) == 2
    monkeypatch.setenv("OPENAI_BASE_URL", f"http://{70 * 'a'}/v1")  # which no name service takes
    assert "cannot be reached" in str(failure())


def test_an_answer_without_end_is_cut_off(endpoint: FakeEndpoint) -> None:
    """As it is sent: what is packed is not unpacked."""
    endpoint.answers = [Answer(body=b"x" * 1_000_001)] * 3
    assert "answers with more than 1000000" in str(failure())
    endpoint.answers = [Answer(body=gzip.compress(bytes(5_000_000)), headers=(("Content-Encoding", "gzip"),))]
    assert "without JSON" in str(failure())


def test_a_redirection_is_not_followed(endpoint: FakeEndpoint) -> None:
    for status in (301, 302, 303, 307, 308):
        endpoint.requests.clear()
        endpoint.answers = [Answer(status=status, headers=(("Location", f"{endpoint.url}/elsewhere"),))]
        assert f"HTTP {status}" in str(failure())
        assert [request.path for request in endpoint.requests] == ["/v1/chat/completions"]


@pytest.mark.parametrize("status", [200, 401])
@pytest.mark.parametrize(
    "body",
    [
        json.dumps({"error": {"message": f"Incorrect API key: {KEY}."}}),
        json.dumps({"headers": {"Authorization": f"Bearer {KEY}"}}),
        f"<p>{KEY}</p>{'x' * 150}{KEY}",
        "?key=sk-test%2Fa%2Bvery%3Dsecret-key_0123456789",
    ],
)
def test_an_echoed_key_is_struck_out(endpoint: FakeEndpoint, status: int, body: str) -> None:
    endpoint.answers = [Answer(status=status, body=body.encode())]
    said = str(failure())
    assert "***" in said
    assert "secret" not in said


def test_the_key_is_no_caption_and_kept_nowhere(endpoint: FakeEndpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint.answers = [says(f"a man with {KEY}")]
    assert "gave the key back" in str(failure())
    made = captioner()
    made.caption(PIXELS)
    assert KEY not in f"{made!r} {made} {vars(made)}"
    monkeypatch.setenv("OPENAI_API_KEY", "none")  # a placeholder may stand in a caption
    endpoint.answers = [says("a man with none")]
    assert captioner().caption(PIXELS) == ["a man with none"]


def test_a_local_server_needs_no_key(endpoint: FakeEndpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    assert captioner().caption(PIXELS)
    assert "Authorization" not in endpoint.requests[0].headers
    endpoint.answers = [failing(401, "who are you?")]
    assert "asks for a key" in str(failure())


@pytest.mark.parametrize("address", ["", "https://api.openai.com/v1/"])
def test_the_default_address_needs_a_key_and_settings_make_sense(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setenv("OPENAI_BASE_URL", address)
    with pytest.raises(CaptionError, match="no key in the environment variable OPENAI_API_KEY"):
        VisionEndpoint("m")
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    assert VisionEndpoint("m").url == "https://api.openai.com/v1/chat/completions"
    with pytest.raises(ConfigError, match="openai:MODEL"):
        VisionEndpoint(" ")
    for seconds in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ConfigError, match="above 0 seconds"):
            VisionEndpoint("m", timeout_seconds=seconds)


LOCAL = "http://localhost"


@pytest.mark.parametrize(
    "address",
    [
        *("hidden:8000/v1", "file:///etc/hidden", "http://:8000/hidden", "http://hidd\u00e9n/v1"),
        *("http://user:hidden@localhost/v1", f"{LOCAL}/v1?key=hidden", f"{LOCAL}/v1#hidden", f"{LOCAL}/hidden v1"),
        f"{LOCAL}:hidden/v1",
    ],
)
def test_addresses_that_are_none_are_refused_unshown(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", address)
    with pytest.raises(ConfigError, match="OPENAI_BASE_URL") as caught:
        VisionEndpoint("m")
    assert "hid" not in "".join(traceback.format_exception(caught.value))


def test_keys_that_cannot_be_sent_are_refused_unshown(endpoint: FakeEndpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    for key in ("two words-secret", "\u00fcmlaut-secret", "bell\x07-secret"):
        monkeypatch.setenv("OPENAI_API_KEY", key)
        with pytest.raises(ConfigError, match="OPENAI_API_KEY") as caught:
            captioner().caption(PIXELS)
        assert "secret" not in "".join(traceback.format_exception(caught.value))
    assert endpoint.requests == []
