"""A server on this machine that answers as an endpoint does, well or badly, and keeps what it was asked."""

import base64
import dataclasses
import hashlib
import io
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from PIL import Image


@dataclasses.dataclass(frozen=True, kw_only=True)
class Answer:
    """What the server says.

    Args:
        silent: it waits for two seconds first.
        cut: it closes the line half-way.
    """

    status: int = 200
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    silent: bool = False
    cut: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
    path: str
    headers: dict[str, str]
    body: dict[str, Any]

    @property
    def image(self) -> Image.Image:
        """The image in the request, decoded."""
        (url,) = [part["image_url"]["url"] for part in self.body["messages"][0]["content"] if "image_url" in part]
        kind, _, data = url.partition(",")
        assert kind == "data:image/png;base64"
        return Image.open(io.BytesIO(base64.b64decode(data, validate=True)), formats=["PNG"])


class FakeEndpoint:
    """Gives the answers in turn, then describes each image by a hash of its pixels."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.answers: list[Answer] = []
        self.requests: list[Request] = []
        self.closing = threading.Event()

    def answer(self, request: Request) -> Answer:
        self.requests.append(request)
        if self.answers:
            return self.answers.pop(0)
        digest = hashlib.sha256(request.image.tobytes()).hexdigest()[:8]
        return states(f"an image with the hash {digest}")


def states(text: object) -> Answer:
    """A good answer with that text, whatever the text is."""
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return Answer(body=json.dumps({"object": "chat.completion", "choices": [choice]}).encode())


@contextmanager
def fake_endpoint() -> Iterator[FakeEndpoint]:
    """The server, in a thread, as long as the block lasts."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer({})

        def do_POST(self) -> None:
            self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def _answer(self, body: dict[str, Any]) -> None:
            answer = endpoint.answer(
                Request(path=self.path, headers={name.title(): text for name, text in self.headers.items()}, body=body)
            )
            if answer.silent and endpoint.closing.wait(2):
                return
            self.send_response(answer.status)
            for name, value in answer.headers:
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body) + answer.cut))
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, *arguments: object) -> None:
            """Nothing is printed."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        endpoint = FakeEndpoint(f"http://127.0.0.1:{server.server_port}/v1")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield endpoint
        finally:
            endpoint.closing.set()
            server.shutdown()
            thread.join()
