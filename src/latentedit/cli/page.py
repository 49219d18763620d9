"""``latentedit app``: the page in the browser. Heavy imports are inside the command."""

import importlib.util
import os
import signal
import tempfile
import threading
import webbrowser
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from latentedit.core.console import echo, warn
from latentedit.core.errors import MissingDependencyError, to_install
from latentedit.core.options import Quiet
from latentedit.core.plugins import has_models

if TYPE_CHECKING:
    from latentedit.models.base import Backbone
    from latentedit.page.models import Models

_Port = Annotated[
    int | None,
    typer.Option(
        "--port",
        min=1,
        max=65535,
        help="Port. Default: the first free port from 7860.",
    ),
]
_Show = Annotated[bool, typer.Option("--open", help="Open the page in the browser.")]


_HELP = """Keep a change, or make one, in the browser: a page on this machine.

    Only this machine can reach the page. All images are deleted when the server stops.

    Examples:
        latentedit app --open
        latentedit app --port 8080
    """


def _command_without_models(problems: Sequence[str] = ()) -> Callable[..., None]:
    """Return the command that serves the first tab alone, after a warning of problems."""

    def app(*, port: _Port = None, show: _Show = False, quiet: Quiet = False) -> None:
        warn(problems)
        _serve(None, port=port, show=show, quiet=quiet)

    return app


def _command_with_models() -> Callable[..., None]:
    """Return the command that serves both tabs, with the options of a model."""
    from latentedit.cli.options import ModelChoice, chooses_model

    @chooses_model
    def app(
        *,
        port: _Port = None,
        show: _Show = False,
        quiet: Quiet = False,
        choice: ModelChoice,
    ) -> None:
        def load_models() -> "Models":
            from latentedit.models.registry import bundled_names
            from latentedit.page.models import Models

            loaders: dict[str, Callable[[], Backbone]] = {}
            for name in bundled_names():
                bundled = ModelChoice(model=name, device=choice.device, dtype=choice.dtype)
                loaders[name] = bundled.load
            return Models(choice.load(), loaders)

        _serve(load_models, port=port, show=show, quiet=quiet)

    return app


def _make_command() -> Callable[..., None]:
    """Return the command for what is installed."""
    if not has_models():
        return _command_without_models()
    try:
        return _command_with_models()
    except ImportError as error:  # torch is there, but not all that the extra "models" installs
        remedy = to_install("latentedit[models]")
        return _command_without_models([f"the page has no tab Edit ({error}). {remedy}"])


app = _make_command()
app.__doc__ = _HELP


def _serve(
    load_models: "Callable[[], Models] | None",
    *,
    port: int | None,
    show: bool,
    quiet: bool,
) -> None:
    """Serve the page until the command is interrupted."""
    if importlib.util.find_spec("gradio") is None:
        remedy = to_install("latentedit[app]")
        raise MissingDependencyError(f"the package gradio is not installed. {remedy}")
    # Background jobs of a shell ignore Ctrl-C by default.
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="latentedit-app-") as folder:
        # Gradio also reads this variable when it is imported, and makes a folder there.
        os.environ["GRADIO_TEMP_DIR"] = folder
        if not quiet:
            echo("loading ...")
        from latentedit.page.serve import serving

        models = None if load_models is None else load_models()
        with serving(Path(folder), models, port=port) as address:
            if not quiet:
                echo(f"serving at {address} (stop with Ctrl-C)")
            if show:
                webbrowser.open(address)
            threading.Event().wait()
