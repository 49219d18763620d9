"""The page's server: where it listens, who may come in, and what is left when it ends, which is nothing."""

import contextlib
import os
import shutil
from collections.abc import Generator
from pathlib import Path

from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware

from latentedit.app.address import check_host, is_loopback
from latentedit.app.layout import HEAD, style, theme
from latentedit.app.models import Models
from latentedit.app.page import Page
from latentedit.core.errors import ConfigError

_MOST_WAITING = 8
"""Tasks in the queue; who comes then is told to try again."""

_MAX_UPLOAD = "20mb"


@contextlib.contextmanager
def serving(
    models: Models,
    folder: Path,
    *,
    host: str = "127.0.0.1",
    port: int | None = None,
    user: str = "",
    password: str = "",
) -> Generator[str]:
    """The page, as long as the context is open; what visitors left is removed with it.

    Args:
        models: that it offers.
        folder: for what visitors send, the server's own.
        host: the address to listen at.
        port: a free one from 7860 on where it is None.
        user: the name to log in with, where there is a password.
        password: that visitors have to give; none where it is empty, which goes on this machine's own address only.

    Yields:
        Where the page is.

    Raises:
        ConfigError: an address that others can reach without a password, or a port that is in use.
    """
    check_host(host, password)
    # A stranger's name that leads to this machine (DNS rebinding) would let a stranger's page read ours.
    hosts = [host.lower(), "127.0.0.1", "localhost", "[::1]"] if is_loopback(host) else ["*"]
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        # Read when the page is made; gradio asks its own server whether it runs, which is not for a proxy to answer.
        stack.enter_context(_environment(GRADIO_TEMP_DIR=str(folder), NO_PROXY="*"))
        page = Page(models, folder)
        stack.callback(page.close)
        page.blocks.queue(max_size=_MOST_WAITING, default_concurrency_limit=1, api_open=False)
        try:
            _, address, _ = page.blocks.launch(
                server_name=host,
                server_port=port,
                auth=[(user, password)] if password else None,
                share=False,
                inbrowser=False,
                prevent_thread_lock=True,
                quiet=True,
                show_error=False,
                allowed_paths=[],
                max_file_size=_MAX_UPLOAD,
                strict_cors=True,
                footer_links=[],
                mcp_server=False,
                ssr_mode=False,
                enable_monitoring=False,
                app_kwargs={"middleware": [Middleware(TrustedHostMiddleware, allowed_hosts=hosts, www_redirect=False)]},
                theme=theme(),
                head=HEAD,
                css=style(),
            )
        except OSError as error:
            if "empty port" not in str(error):
                raise
            wanted = "ports 7860 to 7959 are" if port is None else f"port {port} is"
            raise ConfigError(f"{wanted} in use at {host}. Choose another `port`") from error
        stack.callback(page.blocks.close, verbose=False)
        yield address


@contextlib.contextmanager
def _environment(**wanted: str) -> Generator[None]:
    """Environment variables, as long as the context is open."""
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
