"""Who may send what to the page's server: every route asks for the log-in, and uploads are bounded and removed."""

import contextlib
import threading
import time
from collections.abc import Generator
from pathlib import Path

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

MAX_UPLOAD_BYTES = 50_000_000  # a PNG of 25 megapixels
MAX_STORED_BYTES = 1_000_000_000  # of all uploads that no task has read
UPLOAD_SECONDS = 3600  # after which an upload that no task has read is removed
_SWEEP_SECONDS = 60
_FRAME_BYTES = 10_000  # around a file in the body of its request
_BLOCK_BYTES = 4096  # that a file takes at least
_OPEN_PAGES = ("/", "/login", "/login/")  # without the log-in, "/" is the log-in page
_OPEN_FOLDERS = ("/assets/", "/static/", "/svelte/")  # Gradio's own scripts, styles and fonts
_OPEN_FILES = ("/theme.css", "/favicon.ico", "/manifest.json")
_START = "/gradio_api/startup-events"  # which Gradio requests from itself, once
_UPLOAD = "/gradio_api/upload"


class Access:
    """Middleware: 401 without the log-in, if there is one; no upload that is too large, or more than the disk holds.

    Some of Gradio's own routes do not ask for the log-in: those of the run history, of streams and of canceling.
    """

    def __init__(self, app: ASGIApp, *, locked: bool, uploads: Path) -> None:
        self._app, self._locked, self._uploads = app, locked, uploads
        self._arriving = 0  # bytes of the uploads under way

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
        elif self._locked and not (is_open(scope["path"]) or _is_starting(scope) or _is_known(scope)):
            await PlainTextResponse("Log in first.", 401)(scope, receive, send)
        elif scope["path"].rstrip("/") == _UPLOAD:
            await self._upload(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _upload(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take an upload whose length is stated (the server reads no more than that), if there is room for it."""
        length = Request(scope).headers.get("content-length", "")
        app: ASGIApp = self._app
        if not length.isdecimal():
            app = Response("Give the length of the upload.", 411)
        elif int(length) > MAX_UPLOAD_BYTES + _FRAME_BYTES:
            app = Response(f"Files may have at most {MAX_UPLOAD_BYTES // 1_000_000} MB.", 413)
        elif stored_bytes(self._uploads) + self._arriving + int(length) > MAX_STORED_BYTES:
            app = Response("Too many uploads are waiting. Try again later.", 507)
        taken = int(length) if app is self._app else 0
        self._arriving += taken
        try:
            await app(scope, receive, send)
        finally:
            self._arriving -= taken


def is_open(path: str) -> bool:
    """Whether a path is needed to show the log-in page."""
    return path in _OPEN_PAGES + _OPEN_FILES or path.startswith(_OPEN_FOLDERS)


def _is_starting(scope: Scope) -> bool:
    return scope["path"] == _START and not scope["app"].startup_events_triggered


def _is_known(scope: Scope) -> bool:
    """Whether the request has the cookie of a log-in, as Gradio's routes check it."""
    server, cookies = scope["app"], Request({**scope, "type": "http"}).cookies
    names = (f"access-token{kind}-{server.cookie_id}" for kind in ("", "-unsecure"))
    return any(server.tokens.get(cookies.get(name)) is not None for name in names)


def stored_bytes(folder: Path) -> int:
    """Room that all files in a folder take."""
    return sum(max(size, _BLOCK_BYTES) for _, size, _ in _files(folder))


def remove_old(folder: Path, *, seconds: float) -> None:
    """Remove files of at least this age, and folders without a file."""
    for file, _, age in _files(folder):
        if age >= seconds:
            file.unlink(missing_ok=True)
    for inner in folder.glob("*/"):
        with contextlib.suppress(OSError):
            if time.time() - inner.stat().st_mtime >= seconds:
                inner.rmdir()  # only if it is empty


def _files(folder: Path) -> Generator[tuple[Path, int, float]]:
    """Files with their size and age in seconds; some may be removed meanwhile."""
    for file in folder.rglob("*"):
        with contextlib.suppress(OSError):
            if file.is_file():
                about = file.stat()
                yield file, about.st_size, time.time() - about.st_mtime


@contextlib.contextmanager
def sweeping(folder: Path) -> Generator[None]:
    """Remove old uploads every minute while the context is open, also those of broken connections."""
    ended = threading.Event()

    def sweep() -> None:
        while not ended.wait(_SWEEP_SECONDS):
            remove_old(folder, seconds=UPLOAD_SECONDS)

    thread = threading.Thread(target=sweep, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
