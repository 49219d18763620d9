"""The command line: one command a file, found here.

The commands import what is heavy (torch, diffusers) inside their bodies, so that ``latentedit --help`` and wrong
arguments are answered at once. That is the only reason for which a function of this package imports.
"""

import importlib.metadata
import io
import os
import sys
from typing import Annotated

import typer

from latentedit._version import __version__
from latentedit.cli import caption, direction, discover, doctor, edit, models, path, replay, sweep, transport, undo
from latentedit.core.errors import LatentEditError
from latentedit.core.memory import keep_freed_memory

app = typer.Typer(
    name="latentedit",
    help="Edit a picture by moving it in the latent space of a diffusion model: no training, no mask.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("edit")(edit.edit)
app.command("sweep")(sweep.sweep)
app.command("undo")(undo.undo)
app.command("replay")(replay.replay)
app.command("discover")(discover.discover)
app.command("transport")(transport.transport)
app.command("path")(path.path)
app.add_typer(direction.app, name="direction")
app.command("caption")(caption.caption)
app.command("doctor")(doctor.doctor)
app.add_typer(models.app, name="models")
for _point in importlib.metadata.entry_points(group="latentedit.commands"):
    _command = _point.load()
    if isinstance(_command, typer.Typer):
        app.add_typer(_command, name=_point.name)
    else:
        app.command(_point.name)(_command)


def _version(asked: bool) -> bool:
    if asked:
        print(f"latentedit {__version__}")
        raise typer.Exit
    return asked


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error; works anywhere.")] = False,
) -> None:
    del version, debug  # --debug is looked for in all arguments by `run`


def run(arguments: list[str]) -> int:
    """Run one command line.

    Args:
        arguments: without the program's name.

    Returns:
        The exit code: 0 done, 1 done with failures listed, 2 wrong input, 130 interrupted.
    """
    debug = "--debug" in arguments
    try:
        app(arguments, prog_name="latentedit")
    except LatentEditError as error:
        if debug:
            raise
        text = "".join(letter if letter.isprintable() else " " for letter in str(error))  # it may quote a file
        print(f"latentedit: {' '.join(text.split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stopped:
        print(f"latentedit: {_interruption(stopped)}", file=sys.stderr)
        return 130
    except SystemExit as leaving:
        if leaving.code == 130:
            print(f"latentedit: {_interruption(leaving)}", file=sys.stderr)
        return leaving.code if isinstance(leaving.code, int) else 0 if leaving.code is None else 1
    return 0


def _interruption(error: BaseException | None) -> str:
    """What a command says of Ctrl-C, which typer wraps."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return str(error or "") or "interrupted"


def main() -> None:
    """The program: quiet libraries, one line for an expected error."""
    for library in ("TRANSFORMERS_VERBOSITY", "DIFFUSERS_VERBOSITY"):
        os.environ.setdefault(library, "error")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names of files may be no text
    keep_freed_memory()
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
