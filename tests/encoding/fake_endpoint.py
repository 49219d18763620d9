"""A local server that imitates an endpoint, including its failures, and records the requests."""

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
    status: int = 200
    body: bytes = b""
    truncated: bool = False  # the connection closes before the end of the body


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
    """Gives the queued answers, then describes each image by a hash of its pixels."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.answers: list[Answer] = []
        self.requests: list[Request] = []

    def answer(self, request: Request) -> Answer:
        self.requests.append(request)
        if self.answers:
            return self.answers.pop(0)
        digest = hashlib.sha256(request.image.tobytes()).hexdigest()[:8]
        return text_answer(f"an image with the hash {digest}")


def text_answer(text: object) -> Answer:
    """A valid answer with this content."""
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return Answer(body=json.dumps({"object": "chat.completion", "choices": [choice]}).encode())


@contextmanager
def fake_endpoint() -> Iterator[FakeEndpoint]:
    """Runs the server in a thread within the context."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            headers = {name.title(): text for name, text in self.headers.items()}
            answer = endpoint.answer(Request(path=self.path, headers=headers, body=body))
            self.send_response(answer.status)
            self.send_header("Content-Length", str(len(answer.body) + answer.truncated))
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, *args: object) -> None:
            """Prints nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        endpoint = FakeEndpoint(f"http://127.0.0.1:{server.server_port}/v1")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield endpoint
        finally:
            server.shutdown()
            thread.join()
