"""Who may send what to the page's server: the log-in, requests of other sites, and uploads, bounded and removed."""

import asyncio
import contextlib
import os
import secrets
import shutil
import threading
import time
from collections.abc import Generator
from pathlib import Path
from urllib.parse import urlsplit

from gradio.route_utils import upload_fn
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_UPLOAD_BYTES = 50_000_000  # a PNG of 25 megapixels
MAX_STORED_BYTES = 1_000_000_000  # most bytes of all uploads that no task has read
UPLOAD_SECONDS = 3600  # after which an upload that no task has read is removed
SLOWEST_BYTES = 10_000  # least bytes that an upload brings in a second, on average
PATIENCE_SECONDS = 30  # longest time for which an upload may bring nothing
_SWEEP_SECONDS = 60
_FRAME_BYTES = 10_000  # around a file in the body of its request
_BLOCK_BYTES = 4096  # least space of a file on disk
_OPEN_PAGES = ("/", "/login", "/login/")  # without the log-in, "/" is the log-in page
_OPEN_FOLDERS = ("/assets/", "/static/", "/svelte/")  # Gradio's own scripts, styles and fonts
_OPEN_FILES = ("/theme.css", "/favicon.ico", "/manifest.json")
_START = "/gradio_api/startup-events"  # which Gradio requests from itself, once
_UPLOAD = "/gradio_api/upload"
_FOREIGN = "Another site sent this. Behind a proxy, pass on the address as X-Forwarded-Host."
_FULL = "Too many uploads are waiting. Try again later."
_PORTS = {"http": 80, "https": 443}


class Access:
    """Middleware: 403 for other sites, 401 without the log-in, if there is one; no upload that the disk does not hold.

    Some of Gradio's own routes do not ask for the log-in: those of the run history, of streams and of canceling.
    Gradio also names the folder of an upload after its content, so that equal files of two visitors would be one.
    """

    def __init__(self, app: ASGIApp, *, locked: bool, uploads: Path) -> None:
        self._app, self._locked, self._uploads = app, locked, uploads
        self._missing: dict[str, tuple[str, int]] = {}  # uploads under way: who sends, and bytes to come
        self._stored = 0  # bytes of the uploads, at most: what tasks have read since is found when they seem too many

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app: ASGIApp = self._app
        if scope["type"] in ("http", "websocket"):
            if is_foreign(scope):
                app = PlainTextResponse(_FOREIGN, 403)
            elif self._locked and not (is_open(scope["path"]) or _is_starting(scope) or _is_known(scope)):
                app = PlainTextResponse("Log in first.", 401)
            elif scope["path"].rstrip("/") == _UPLOAD and scope.get("method") == "POST":
                app = await self._upload(scope, receive)
        await app(scope, receive, send)

    async def _upload(self, scope: Scope, receive: Receive) -> Response:
        """Take an upload whose length is stated (the server reads no more than that) into a folder of its own."""
        length, folder = Headers(scope=scope).get("content-length", ""), self._uploads / secrets.token_hex(16)
        if not length.isdecimal():
            return Response("Give the length of the upload.", 411)
        if int(length) > MAX_UPLOAD_BYTES + _FRAME_BYTES:
            return Response(f"Files may have at most {MAX_UPLOAD_BYTES // 1_000_000} MB.", 413)
        request = Request(scope, self._bounded(receive, folder.name, scope, int(length)))
        answer = Response("The upload has ended.", 400)
        try:
            found, *_ = await upload_fn(request, folder, MAX_UPLOAD_BYTES, None)
            answer = JSONResponse(found) if len(found) == 1 else Response("Upload one file at a time.", 400)
        except TimeoutError:
            answer = Response("The upload was too slow.", 408, {"Connection": "close"})
        except HTTPException as error:
            answer = Response(error.detail, error.status_code)
        except (MultiPartException, TypeError) as error:
            answer = Response(str(error), 413 if "maximum allowed size" in str(error) else 400)
        except OSError:
            answer = Response(_FULL, 507)
        except ClientDisconnect:
            pass
        finally:
            del self._missing[folder.name]
            if answer.status_code != 200:
                shutil.rmtree(folder, ignore_errors=True)
        return answer

    def _bounded(self, receive: Receive, name: str, scope: Scope, length: int) -> Receive:
        """The parts of an upload, while there is room and it is not too slow."""
        client, patience = (scope.get("client") or ("",))[0], float(PATIENCE_SECONDS)
        self._missing[name], self._stored = (client, length), self._stored + _BLOCK_BYTES

        async def bounded() -> Message:
            nonlocal patience
            if self._is_full():
                raise HTTPException(507, _FULL)
            began = time.monotonic()
            message = await asyncio.wait_for(receive(), patience)
            size = len(message.get("body", b""))
            patience = min(PATIENCE_SECONDS, patience - (time.monotonic() - began) + size / SLOWEST_BYTES)
            self._missing[name] = client, self._missing[name][1] - size
            self._stored += size
            return message

        return bounded

    def _is_full(self) -> bool:
        """Whether there is no room for what is stored, with the longest that is still to come from each address."""
        longest = dict(sorted(self._missing.values()))  # the last pair of an address stays
        if self._stored + sum(longest.values()) > MAX_STORED_BYTES:
            self._stored = stored_bytes(self._uploads)
        return self._stored + sum(longest.values()) > MAX_STORED_BYTES


def is_foreign(scope: Scope) -> bool:
    """Whether the page of another site requests a change in a visitor's browser; other programs state no site."""
    headers = Headers(scope=scope)
    site, source = headers.get("sec-fetch-site"), headers.get("origin", headers.get("referer"))
    if scope.get("method") in ("GET", "HEAD", "OPTIONS") or site == "same-origin":  # also if a proxy renames the host
        return False
    hosts = (headers.get("host", ""), headers.get("x-forwarded-host", "").split(",")[0].strip())
    return site in ("same-site", "cross-site") or (source is not None and not any(_is_at(source, one) for one in hosts))


def _is_at(url: str, host: str) -> bool:
    """Whether an URL is of a host, which may have a port."""
    with contextlib.suppress(ValueError):
        one, other = urlsplit(url), urlsplit(f"//{host}")
        usual = _PORTS.get(one.scheme)
        return bool(other.hostname) and (one.hostname, one.port or usual) == (other.hostname, other.port or usual)
    return False


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
    return sum(max(size, _BLOCK_BYTES) for size in _sizes(folder))


def remove_old(folder: Path, *, seconds: float) -> None:
    """Remove files of at least this age, and folders without a file."""
    for place, folders, names in os.walk(folder, topdown=False):
        for one in (Path(place, name) for name in (*names, *folders)):
            with contextlib.suppress(OSError):
                if time.time() - one.lstat().st_mtime >= seconds:
                    one.rmdir() if one.is_dir() else one.unlink()  # a folder only if it is empty


def _sizes(folder: Path) -> Generator[int]:
    """Sizes of all files; `os.walk` passes over folders that are removed meanwhile."""
    for place, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                yield os.lstat(Path(place, name)).st_size


@contextlib.contextmanager
def sweeping(folder: Path) -> Generator[None]:
    """Remove old uploads every minute while the context is open, also those of broken connections."""
    ended = threading.Event()

    def sweep() -> None:
        while not ended.wait(_SWEEP_SECONDS):
            with contextlib.suppress(Exception):  # whatever a file system does, the next minute tries again
                remove_old(folder, seconds=UPLOAD_SECONDS)

    thread = threading.Thread(target=sweep, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
