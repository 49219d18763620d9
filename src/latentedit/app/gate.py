"""What stands before the page's server: which hosts and addresses it answers to, and what browsers may do with it.

The page moves pictures as data and never as files, so that of gradio's addresses only those that the page itself needs
are let through: no file, no address of another server, and no interface for programs can be had from it.
"""

import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

_Message = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]
_Server = Callable[[_Message, _Receive, _Send], Awaitable[None]]

_NEEDED = re.compile(
    r"/|/login/?|/logout|/config/?|/theme\.css|/favicon\.ico|/robots\.txt|/(?:assets|static|svelte)/(?!.*\.\.).*"
    r"|/gradio_api/(?:queue/(?:join|data)|run/predict|upload(?:_progress)?|cancel|reset/?|heartbeat/\w+|startup-events|app_id/?"
    r"|login_check/?|user/?|theme\.css)"
)
"""Paths that the page and its log-in ask for."""

_POLICY = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
    "script-src 'self' 'unsafe-inline' 'unsafe-eval'; "  # gradio writes scripts into its page
    "connect-src 'self' data: blob:; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)

_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cache-control": "no-store",
}


class Gate:
    """Middleware between the network and gradio.

    Args:
        app: what lies behind.
        hosts: names under which the page may be asked for, without ports; any where it is None. A page that listens on
            this machine alone has to be asked for under this machine's names: a stranger's name that is made to lead
            here (DNS rebinding) would let a stranger's page read ours.
    """

    def __init__(self, app: _Server, hosts: frozenset[str] | None = None) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: _Message, receive: _Receive, send: _Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif self._hosts is not None and _host(scope) not in self._hosts:
            await _refuse(send, 421, "this page is asked for under another name")
        elif _NEEDED.fullmatch(scope["path"]) is None:
            await _refuse(send, 404, "the page has no such address")
        else:
            await self._app(scope, receive, _with_headers(send, lasting=scope["path"].startswith("/assets/")))


def _host(scope: _Message) -> str:
    """The name in the Host header, without port."""
    value = next((value for name, value in scope["headers"] if name == b"host"), b"").decode("latin-1")
    return re.sub(r":\d*\Z", "", value).lower()


def _with_headers(send: _Send, *, lasting: bool) -> _Send:
    """Sends answers with what browsers are to keep to; ``lasting`` ones may be kept by them."""

    async def send_answer(message: _Message) -> None:
        if message["type"] == "http.response.start":
            added = {name: text for name, text in _HEADERS.items() if not (lasting and name == "cache-control")}
            kept = [(name, value) for name, value in message["headers"] if name.decode("latin-1").lower() not in added]
            message = {**message, "headers": [*kept, *((n.encode(), text.encode()) for n, text in added.items())]}
        await send(message)

    return send_answer


async def _refuse(send: _Send, status: int, text: str) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text.encode()})
