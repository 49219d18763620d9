"""The server of the page, which only this machine can reach."""

import contextlib
import os
import threading
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from latentedit.core.errors import ConfigError
from latentedit.page.keep_tab import KeepTab, example
from latentedit.page.layout import HEAD, style, theme
from latentedit.page.page import MAX_UPLOAD_BYTES, Page, Tab
from latentedit.page.visit import Visit

if TYPE_CHECKING:
    from latentedit.page.models import Models

_HOST = "127.0.0.1"
_READING_METHODS = ("GET", "HEAD", "OPTIONS")


class RefuseOtherSites:
    """Middleware that answers 403 if another site sends data.

    Without it, any site that is open in the same browser could fill the disk with uploads.
    Browsers state with `Sec-Fetch-Site` which site sends a request; other programs do not.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app: ASGIApp = self._app
        if scope["type"] == "http" and scope["method"] not in _READING_METHODS:
            site = Headers(scope=scope).get("sec-fetch-site")
            if site in ("same-site", "cross-site"):
                app = PlainTextResponse("Another site sent this.", 403)
        await app(scope, receive, send)


def make_page(models: "Models | None" = None) -> Page:
    """Make the page with its tabs."""
    tabs: list[Tab] = [KeepTab()]
    kept_example = example()

    def new_visit(working: threading.Lock) -> Visit:
        visit = Visit(working)
        visit.kept = kept_example
        return visit

    if models is None:
        return Page(tabs, new_visit)

    from latentedit.page.edit_tab import EditTab
    from latentedit.page.edit_visit import EditVisit

    tabs.append(EditTab(models))

    def new_edit_visit(working: threading.Lock) -> EditVisit:
        visit = EditVisit(working, models)
        visit.kept = kept_example
        return visit

    return Page(tabs, new_edit_visit)


@contextlib.contextmanager
def serving(
    folder: Path,
    models: "Models | None" = None,
    *,
    port: int | None = None,
) -> Generator[str]:
    """Serve the page while the context is open.

    Args:
        folder: for uploads. Gradio removes the files when the server stops.
        models: for the tab *Edit*, which the page has if they are given.
        port: by default the first free one from 7860.

    Yields:
        The address of the page.
    """
    with contextlib.ExitStack() as stack:
        variables = {
            # Gradio reads these two when the page is made, also if it was imported before.
            "GRADIO_TEMP_DIR": str(folder),
            "GRADIO_RUN_HISTORY": "False",
            # Gradio checks that its server runs. A proxy could not reach it.
            "NO_PROXY": "*",
        }
        stack.enter_context(_environment(**variables))
        page = make_page(models)
        stack.callback(page.close)
        page.blocks.queue(default_concurrency_limit=1)
        middleware = [
            # Otherwise the page of another site could read ours by DNS rebinding.
            Middleware(
                TrustedHostMiddleware,
                allowed_hosts=[_HOST, "localhost"],
                www_redirect=False,
            ),
            Middleware(RefuseOtherSites),
        ]
        try:
            _, address, _ = page.blocks.launch(
                server_name=_HOST,
                server_port=port,
                share=False,
                prevent_thread_lock=True,
                quiet=True,
                max_file_size=MAX_UPLOAD_BYTES,
                footer_links=[],
                ssr_mode=False,
                app_kwargs={"middleware": middleware},
                theme=theme(),
                head=HEAD,
                css=style(),
            )
        except OSError as error:
            if "empty port" not in str(error):
                raise
            ports = "ports 7860 to 7959 are" if port is None else f"port {port} is"
            raise ConfigError(f"{ports} in use. Choose another `port`") from error
        stack.callback(page.blocks.close, verbose=False)
        yield address


@contextlib.contextmanager
def _environment(**variables: str) -> Generator[None]:
    before = {name: os.environ[name] for name in variables if name in os.environ}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name in variables:
            del os.environ[name]
        os.environ.update(before)
