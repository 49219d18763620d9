"""What the gate adds to answers, before a server that is a few lines."""

import asyncio
from collections.abc import MutableMapping
from typing import Any

import pytest

from latentedit.app.gate import Gate


def answered(path: str) -> dict[str, str]:
    """The headers of an answer by a server that has its own idea of caching."""
    sent: list[MutableMapping[str, Any]] = []

    async def server(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"Cache-Control", b"max-age=9")]})

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    asyncio.run(Gate(server)({"type": "http", "path": path, "headers": []}, None, send))  # type: ignore[arg-type]
    return {name.decode().lower(): value.decode() for name, value in sent[0]["headers"]}


@pytest.mark.parametrize(("path", "caching"), [("/assets/index.js", "max-age=9"), ("/config", "no-store")])
def test_browsers_keep_the_pages_own_files_alone(path: str, caching: str) -> None:
    headers = answered(path)
    assert headers["cache-control"] == caching
    assert headers["x-content-type-options"] == "nosniff"
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
