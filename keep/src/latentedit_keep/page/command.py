"""``latentedit app``: the page in the browser. Heavy imports are inside the command."""

import contextlib
import dataclasses
import os
import signal
import tempfile
import threading
import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from latentedit.app.address import check_host
from latentedit.cli import options
from latentedit.cli.options import ModelChoice, chooses_model
from latentedit.core.errors import ConfigError
from latentedit.core.plugins import require
from latentedit_keep.floor.console import echo

PASSWORD = "LATENTEDIT_APP_PASSWORD"


@chooses_model
def app(
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
    *,
    choice: ModelChoice,
    quiet: options.Quiet = False,
) -> None:
    """Keep a change, or make one, in the browser: a page on this machine.

    Other machines can reach the page only if you give another address, which needs a password: in a file, or in the
    variable LATENTEDIT_APP_PASSWORD. All visitor data is deleted when the server stops.

    Examples:
        latentedit app --open
        latentedit app --model ./my-model --port 8080
        latentedit app --host 0.0.0.0 --user anna --password-file password.txt
    """
    password = read_password(password_file)
    check_host(host, password)
    for ending in (signal.SIGINT, signal.SIGTERM):  # background jobs of a shell ignore Ctrl-C by default
        signal.signal(ending, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="latentedit-app-") as home:  # readable by its owner only
        uploads, empty = Path(home, "uploads"), Path(home, "empty")
        os.environ["GRADIO_TEMP_DIR"] = str(uploads)  # read when gradio is imported
        if not quiet:
            echo(f"loading {choice.name} ...")
        require("gradio", "app")
        from latentedit.app.models import Models
        from latentedit.app.serve import serving
        from latentedit.models.registry import bundled_names

        on_device = ModelChoice(device=choice.device, dtype=choice.dtype)
        others = {name: dataclasses.replace(on_device, model=name).load for name in bundled_names()}
        models = Models(choice.load(), others)
        empty.mkdir()
        with (
            contextlib.chdir(empty),  # gradio may serve files of the working directory
            serving(models, uploads, host=host, port=port, user=user, password=password) as address,
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
