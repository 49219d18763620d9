"""Exit codes and signals of the program with any commands, and the program of this package: check, keep and mcp."""

import errno
import functools
import io
import re
import signal
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer

from latentedit_keep.base.console import close_streams, complain, fail, warn
from latentedit_keep.base.errors import LatentEditError, to_install
from latentedit_keep.check_command import check
from latentedit_keep.command import keep
from latentedit_keep.mcp_command import mcp

FAULT = 70  # exit code of an internal error: EX_SOFTWARE of sysexits.h
UsageError: type[Exception] = typer.BadParameter.__mro__[2]  # click's ClickException, which typer 0.26 and later copy
_POSSIBLE = re.compile(r" \(Possible options: (.*)\)")  # click's wording of "did you mean"

app = typer.Typer(name="latentedit", no_args_is_help=True, pretty_exceptions_enable=False)
app.command("check")(check)
app.command("keep")(keep)
app.command("mcp")(mcp)


@app.callback(epilog=f"For all other commands install the library. {to_install('latentedit')}")
def _options() -> None:
    """Check what an image editor changed, and keep only that, on the original's own pixels."""


def main() -> None:
    """Run the program of this package alone."""
    sys.exit(execute(run))


def run(arguments: list[str]) -> int:
    """Exit code of one command line; internal errors are raised."""
    program: Any = typer.main.get_command(app)
    return invoke(lambda: program.main(arguments, prog_name="latentedit", standalone_mode=False), explained)


def execute(run: Callable[[list[str]], int]) -> int:
    """Exit code of the process: no traceback for an expected error, a traceback and 70 for an internal one."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # file names may be no valid text
            stream.reconfigure(errors="backslashreplace", line_buffering=True)
    for number in (signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
        if signal.getsignal(number) is signal.SIG_DFL:  # nohup ignores SIGHUP
            signal.signal(number, _leave)
    warnings.showwarning = lambda message, *_, **__: _warn_once(str(message))
    try:
        Path.cwd()
    except OSError:  # libraries exit without a current folder
        fail("the current folder was deleted. Change to another folder")
        return 2
    try:
        code = run(sys.argv[1:])
    except BrokenPipeError:  # the reader has left, as in `| head`
        code = 0
    except Exception as error:  # noqa: BLE001 (the last handler)
        for line in traceback.format_exc().splitlines():
            complain(line, indented=True)
        code = 2 if isinstance(error, LatentEditError) else FAULT
        if code == FAULT:
            fail("internal error. Please report it with the traceback above")
    return close_streams(code)


def invoke(command: Callable[[], int | None], explain: Callable[[Any], str | None]) -> int:
    """Exit code of a command: 0 done, 1 done with failures, 2 wrong input, 130 interrupted.

    ``explain`` gives problem and remedy of an expected error; an error that it gives None for is raised.
    """
    try:
        return int(command() or 0)
    except typer.Exit as leaving:
        return leaving.exit_code
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except (KeyboardInterrupt, EOFError, typer.Abort) as stopped:
        complain(f"latentedit: {str(stopped) or 'interrupted'}")
        return 130
    except Exception as error:
        message = explain(error)
        if message is None:
            raise
        if type(error).__name__ != "NoArgsIsHelpError":  # which has printed the help of its group
            fail(message)
        return 2


def explained(error: Any) -> str | None:
    """Problem and remedy of an expected error; None for a fault of this program."""
    if isinstance(error, LatentEditError):
        return str(error)
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:  # any command may be given such a name
        return f"the file name {error.filename!s:.60}... is too long. Use a shorter one"
    if isinstance(error, UsageError):
        described: Any = error
        name = "latentedit" if described.ctx is None else described.ctx.command_path
        text = described.format_message().rstrip(".")
        text = _POSSIBLE.sub(r". Did you mean \1?", text[:1].lower() + text[1:])
        return f"{text}{'' if text.endswith('?') else '.'} See: {name} --help"
    return None


@functools.cache
def _warn_once(text: str) -> None:
    """Warn once, since files are opened more than once."""
    warn([text])


def _leave(number: int, _: object) -> None:
    """Exit as on Ctrl-C: unfinished files are removed, finished ones stay."""
    complain(f"latentedit: terminated by {signal.Signals(number).name}; finished files were kept")
    raise SystemExit(128 + number)
