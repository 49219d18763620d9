"""The server of the page: address, access control, and removal of all files at its end."""

import contextlib
import os
import shutil
from collections.abc import Generator, Sequence
from pathlib import Path

from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware

from latentedit.core.errors import ConfigError
from latentedit.page.access import Access, sweeping
from latentedit.page.address import check_host, is_loopback
from latentedit.page.keep_tab import KeepTab
from latentedit.page.layout import HEAD, style, theme
from latentedit.page.page import Page, Tab

_MAX_WAITING = 8  # tasks in the queue; further ones are rejected with a message
_MAX_VISITS = 200  # whose images and results are in memory; a further visitor takes the place of the one longest away


@contextlib.contextmanager
def serving(
    folder: Path,
    tabs: Sequence[Tab] = (),
    *,
    host: str = "127.0.0.1",
    port: int | None = None,
    user: str = "",
    password: str = "",
) -> Generator[str]:
    """Serve the page, with more tabs than its own, while the context is open, and yield its address.

    The folder is for uploads and removed at the end; without a port, the first free one from 7860 is used.
    """
    check_host(host, password)
    # Refuse other host names, or a foreign page could read ours by DNS rebinding.
    hosts = [host.lower(), "127.0.0.1", "localhost", "[::1]"] if is_loopback(host) else ["*"]
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        # Gradio reads these when the page is made. It also checks that its server runs, which must bypass a proxy.
        own = {"GRADIO_TEMP_DIR": str(folder), "GRADIO_ALLOWED_PATHS": "", "GRADIO_RUN_HISTORY": "False"}
        stack.enter_context(_environment(**own, NO_PROXY="*"))
        stack.enter_context(sweeping(folder))
        page = Page([KeepTab(), *tabs], folder)
        stack.callback(page.close)
        page.blocks.queue(max_size=_MAX_WAITING, default_concurrency_limit=1, api_open=False)
        try:
            _, address, _ = page.blocks.launch(
                server_name=host,
                server_port=port,
                auth=[(user, password)] if password else None,
                share=False,
                prevent_thread_lock=True,
                quiet=True,
                show_error=False,
                state_session_capacity=_MAX_VISITS,
                strict_cors=True,
                footer_links=[],
                mcp_server=False,  # otherwise the environment decides, as on the limit of concurrency
                ssr_mode=False,
                enable_monitoring=False,
                app_kwargs={
                    "middleware": [
                        Middleware(TrustedHostMiddleware, allowed_hosts=hosts, www_redirect=False),
                        Middleware(Access, locked=bool(password), uploads=folder),
                    ]
                },
                theme=theme(),
                head=HEAD,
                css=style(),
            )
        except OSError as error:
            if "empty port" not in str(error):
                raise
            ports = "ports 7860 to 7959 are" if port is None else f"port {port} is"
            raise ConfigError(f"{ports} in use at {host}. Choose another `port`") from error
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
