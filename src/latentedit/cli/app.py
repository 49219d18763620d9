"""``latentedit app``: the page in the browser. What is heavy is imported when the command runs."""

import contextlib
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
from latentedit.cli.model_choice import ModelChoice, chooses_model
from latentedit.core.errors import ConfigError, require
from latentedit_keep.console import say

PASSWORD = "LATENTEDIT_APP_PASSWORD"


@chooses_model
def app(
    host: Annotated[
        str, typer.Option("--host", help="The address to listen at; others need a password.")
    ] = "127.0.0.1",
    port: Annotated[
        int | None, typer.Option("--port", min=1, max=65535, help="A free one from 7860 on if not given.")
    ] = None,
    user: Annotated[str, typer.Option("--user", help="The name to log in with, where there is a password.")] = "guest",
    password_file: Annotated[
        Path | None,
        typer.Option("--password-file", help="A file whose first line is the password."),
    ] = None,
    show: Annotated[bool, typer.Option("--open/--no-browser", help="Open the page in the browser.")] = False,
    *,
    choice: ModelChoice,
    quiet: options.Quiet = False,
) -> None:
    """Edit in the browser: a page on this machine with a picture, a change and a slider.

    Nobody else reaches it, unless another address is given, which needs a password: in a file, or in the variable
    LATENTEDIT_APP_PASSWORD. Nothing of what visitors do is left when it ends.

    Examples:
        latentedit app --open
        latentedit app --model ./my-model --port 8080
        latentedit app --host 0.0.0.0 --user anna --password-file password.txt
    """
    password = read_password(password_file)
    check_host(host, password)
    for ending in (signal.SIGINT, signal.SIGTERM):  # a shell's background jobs ignore Ctrl-C unless they say so
        signal.signal(ending, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="latentedit-app-") as home:  # for its owner only
        uploads, empty = Path(home, "uploads"), Path(home, "empty")
        os.environ["GRADIO_TEMP_DIR"] = str(uploads)  # gradio reads it when it is imported
        require("gradio", "app")
        from latentedit.app.models import Models
        from latentedit.app.serve import serving
        from latentedit.models.registry import bundled_names

        others = {
            name: ModelChoice(model=name, device=choice.device, dtype=choice.dtype).load for name in bundled_names()
        }
        models = Models(choice.load(), others)
        empty.mkdir()
        with (
            contextlib.chdir(empty),  # gradio may serve files of the working directory
            serving(models, uploads, host=host, port=port, user=user, password=password) as address,
        ):
            if not quiet:
                say(f"the page is at {address} (Ctrl-C ends it)")
            if show:
                webbrowser.open(address)
            threading.Event().wait()


def read_password(file: Path | None) -> str:
    """The password from a file's first line, or else from the environment; empty where there is neither.

    Raises:
        ConfigError: a file that cannot be read, or whose first line is empty.
    """
    if file is None:
        return os.environ.get(PASSWORD, "")
    try:
        with file.open(encoding="utf-8") as lines:
            password = lines.readline().strip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the password in {file} cannot be read: {error}. Check --password-file") from error
    if not password:
        raise ConfigError(f"the first line of {file} is empty. Write the password there")
    return password
