"""``latentedit app``: the page in the browser. Heavy imports are inside the command."""

import functools
import importlib.util
import inspect
import signal
import tempfile
import threading
import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from latentedit.core.console import echo, warn
from latentedit.core.errors import MissingDependencyError, RegistryError, to_install
from latentedit.core.options import Quiet
from latentedit.core.plugins import Registry

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
    port: Annotated[
        int | None, typer.Option("--port", min=1, max=65535, help="Port. Default: the first free port from 7860.")
    ] = None,
    show: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    quiet: Quiet = False,
) -> None:
    """Keep a change, or make one, in the browser: a page on this machine.

    Only this machine can reach the page. All images are deleted when the server stops.

    Examples:
        latentedit app --open
        latentedit app --port 8080
    """
    if importlib.util.find_spec("gradio") is None:
        raise MissingDependencyError(f"the package gradio is not installed. {to_install('latentedit[app]')}")
    for ending in (signal.SIGINT, signal.SIGTERM):  # background jobs of a shell ignore Ctrl-C by default
        signal.signal(ending, signal.default_int_handler)
    if not quiet:
        echo("loading ...")
    from latentedit.page.serve import serving

    made = [tab() for tab in tabs]
    # Only its owner can read the folder.
    with (
        tempfile.TemporaryDirectory(prefix="latentedit-app-") as folder,
        serving(Path(folder), made, port=port) as address,
    ):
        if not quiet:
            echo(f"serving at {address} (stop with Ctrl-C)")
        if show:
            webbrowser.open(address)
        threading.Event().wait()
