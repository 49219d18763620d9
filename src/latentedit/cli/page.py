"""``latentedit app``: the page in the browser. Heavy imports are inside the command."""

import contextlib
import functools
import importlib.util
import inspect
import os
import signal
import tempfile
import threading
import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from latentedit.core.console import echo, warn
from latentedit.core.errors import ConfigError, MissingDependencyError, RegistryError, to_install
from latentedit.core.options import Quiet
from latentedit.core.plugins import Registry
from latentedit.page.address import check_host

PASSWORD = "LATENTEDIT_APP_PASSWORD"
TABS = Registry(group="latentedit.tabs", kind="tab")
"""Name to a function that returns a `page.Tab`; what it takes are options of the command."""


def _with_options_of_tabs(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of all installed tabs, and, as its first argument, what makes these tabs."""
    tabs, broken = list[Callable[..., Any]](), list[str]()
    for name in TABS.names():
        try:
            tabs.append(TABS.load(name))
        except RegistryError as error:  # the page works without it
            broken.append(str(error))
    takes = [list(inspect.signature(tab).parameters.values()) for tab in tabs]

    @functools.wraps(command)
    def with_tabs(**given: Any) -> None:
        warn(broken)
        made = [
            functools.partial(tab, **{one.name: given.pop(one.name) for one in options})
            for tab, options in zip(tabs, takes, strict=True)
        ]
        command(made, **given)

    _, *own = inspect.signature(command).parameters.values()
    described: Any = with_tabs
    described.__signature__ = inspect.Signature([*own, *(one for options in takes for one in options)])
    return described


@_with_options_of_tabs
def app(
    tabs: list[Callable[[], Any]],
    *,
    host: Annotated[
        str, typer.Option("--host", help="Address to listen on. Any non-local address needs a password.")
    ] = "127.0.0.1",
    port: Annotated[
        int | None, typer.Option("--port", min=1, max=65535, help="Port. Default: the first free port from 7860.")
    ] = None,
    user: Annotated[str, typer.Option("--user", help="User name to log in with, if there is a password.")] = "guest",
    password_file: Annotated[
        Path | None, typer.Option("--password-file", help="File whose first line is the password.")
    ] = None,
    show: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    quiet: Quiet = False,
) -> None:
    """Keep a change, or make one, in the browser: a page on this machine.

    Other machines can reach the page only if you give another address, which needs a password: in a file, or in the
    variable LATENTEDIT_APP_PASSWORD. All visitor data is deleted when the server stops.

    Examples:
        latentedit app --open
        latentedit app --port 8080
        latentedit app --host 0.0.0.0 --user anna --password-file password.txt
    """
    password = read_password(password_file)
    check_host(host, password)
    if importlib.util.find_spec("gradio") is None:
        raise MissingDependencyError(f"the package gradio is not installed. {to_install('latentedit[app]')}")
    for ending in (signal.SIGINT, signal.SIGTERM):  # background jobs of a shell ignore Ctrl-C by default
        signal.signal(ending, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="latentedit-app-") as home:  # readable by its owner only
        uploads, empty = Path(home, "uploads"), Path(home, "empty")
        os.environ["GRADIO_TEMP_DIR"] = str(uploads)  # read when gradio is imported
        if not quiet:
            echo("loading ...")
        from latentedit.page.serve import serving

        made = [tab() for tab in tabs]
        empty.mkdir()
        with (
            contextlib.chdir(empty),  # gradio may serve files of the working directory
            serving(uploads, made, host=host, port=port, user=user, password=password) as address,
        ):
            if not quiet:
                echo(f"serving at {address} (stop with Ctrl-C)")
            if show:
                webbrowser.open(address)
            threading.Event().wait()


def read_password(file: Path | None) -> str:
    """The password from the first line of a file, otherwise from the environment; empty if there is neither."""
    if file is None:
        return os.environ.get(PASSWORD, "")
    try:
        with file.open(encoding="utf-8") as lines:
            password = lines.readline().strip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the password file {file}: {error}. Check --password-file") from error
    if not password:
        raise ConfigError(f"the first line of {file} is empty. Write the password there")
    return password
