"""Exit codes and signals of the program with any commands, and the program of this package: check, keep and mcp."""

import difflib
import errno
import functools
import importlib.metadata
import inspect
import io
import re
import signal
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import typer
import typer.core

from latentedit_keep.base.console import close_streams, complain, echo, fail, warn
from latentedit_keep.base.errors import LatentEditError, MissingDependencyError, to_install
from latentedit_keep.check_command import check
from latentedit_keep.command import keep
from latentedit_keep.mcp_command import mcp

INTERRUPTED = 130  # exit code: 128 and SIGINT
FAULT = 70  # exit code of an internal error: EX_SOFTWARE of sysexits.h
UsageError: type[Exception] = typer.BadParameter.__mro__[2]  # click's ClickException, which typer 0.26 and later copy
_POSSIBLE = re.compile(r" \(Possible options: (.*)\)")  # click's wording of "did you mean"
_EXTRA = re.compile(r"got unexpected extra arguments?(?:\(s\))? \((.*)\)")  # its wording of too many arguments
_NAMED = {"--prompt": "a text with --prompt", "--output": "an output with -o"}  # what is typed without its option
_CLOSE = 0.75  # similarity of an option that was meant
EXAMPLES = "Examples:"  # title of the section with examples
GROUPS = {
    "Keep and check": ("keep", "check", "mcp"),
    "Edit": ("edit", "sweep", "undo", "replay", "caption", "app"),
    "Directions": ("direction", "discover", "transport", "path"),
    "Models": ("models", "methods", "doctor", "help"),
    "Measure": ("bench", "reproduce"),
}
"""The commands of all our packages as the help lists them; others follow, by package."""
_COMMANDS = {name for names in GROUPS.values() for name in names}
_VERBATIM = "\b"  # mark of a line that typer keeps as it is


class _Program(typer.core.TyperGroup):
    """The commands of this package; those of the library say what they need."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        found: Any = super().get_command(ctx, cmd_name)
        if found is None and cmd_name in _COMMANDS:
            why = "is a command of the library" + "; keep does not change the original" * (cmd_name == "undo")
            raise MissingDependencyError(f"{cmd_name!r} {why}. {to_install('latentedit')}")
        return found


app = typer.Typer(name="latentedit", cls=_Program, no_args_is_help=True, pretty_exceptions_enable=False)
app.command("keep")(keep)
app.command("check")(check)
app.command("mcp")(mcp)


def _version(version: bool) -> None:
    if version:
        echo(f"latentedit-keep {importlib.metadata.version('latentedit-keep')}")
        raise typer.Exit


@app.callback(epilog=f"For all other commands install the library. {to_install('latentedit')}")
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, expose_value=False, help="Print the version.")
    ] = False,
) -> None:
    """Check what an image editor changed, and keep only that, on the original's own pixels.

    Examples:
        latentedit keep photo.jpg edited.png
        latentedit check photo.jpg edited.png --mask mask.png

    Exit codes: 0 success, 1 failed, 2 invalid input, 3 unsure, 70 internal error, 130 interrupted.
    """


def main() -> None:
    """Run the program of this package alone."""
    sys.exit(execute(run))


def run(arguments: list[str]) -> int:
    """Exit code of one command line; internal errors are raised."""
    program: Any = typer.main.get_command(app)
    for command in (program, *program.commands.values()):
        command.help = help_page(command.help)
        name_kinds(command)
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
    """Exit code of a command: 0 done, 1 done with failures, 2 wrong input, 130 interrupted."""
    # ``explain`` gives problem and remedy of an expected error; an error that it gives None for is raised.
    try:
        if (code := int(command() or 0)) == INTERRUPTED:  # which typer made of it
            raise KeyboardInterrupt
        return code
    except typer.Exit as leaving:
        return leaving.exit_code
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except (KeyboardInterrupt, EOFError, typer.Abort) as stopped:
        complain(f"latentedit: {str(stopped) or 'interrupted'}")
        return INTERRUPTED
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
        command = next((one for one in sys.argv[1:2] if one in _COMMANDS), "")
        name = f"latentedit {command}".strip() if described.ctx is None else described.ctx.command_path
        text = described.format_message().rstrip(".")
        text = _meant(text[:1].lower() + text[1:], described.ctx)
        if ". " in text and not text.endswith("?"):  # a remedy already
            return f"{text}, see {name} --help"
        return f"{text}{'' if text.endswith('?') else '.'} See: {name} --help"
    return None


def _meant(text: str, context: Any) -> str:
    """What click says of an argument or option that a command does not have, with what was meant."""
    options = [] if context is None else [name for param in context.command.params for name in param.opts]
    named = " and ".join(what for option, what in _NAMED.items() if option in options)
    text = _EXTRA.sub(rf"unexpected argument '\1'{f'. Give {named}' if named else ''}", text)
    unknown = re.match(r"no such option: --([\w-]+)", text)
    if unknown and "--set" in options and not difflib.get_close_matches(f"--{unknown[1]}", options, cutoff=_CLOSE):
        return f"no such option: --{unknown[1]}. If it is a setting of the method, use --set {unknown[1]}=VALUE"
    return _POSSIBLE.sub(r". Did you mean \1?", text)


def help_page(docstring: str) -> str:
    r"""The docstring with lines of prose joined and lines of sections kept.

    Example:
        >>> help_page("Edit an\nimage.\n\nExamples:\n    latentedit edit me.png\n")
        'Edit an image.\n\n\x08Examples:\n\x08  latentedit edit me.png'
    """
    paragraphs: list[str] = []
    for paragraph in inspect.cleandoc(docstring).split("\n\n"):
        title, *lines = paragraph.splitlines() or [""]
        if title.endswith(":") and lines and all(line.startswith(" ") for line in lines):
            paragraphs.append("\n".join(_VERBATIM + line for line in [title, *(f"  {line.strip()}" for line in lines)]))
        else:
            paragraphs.append(" ".join(paragraph.split()))
    return "\n\n".join(paragraphs)


def name_kinds(command: Any) -> None:
    """Show TEXT for the values of options, where typer shows <list[str]>, and nothing for a switch."""
    for param in command.get_params(typer.Context(command)):
        if param.param_type_name == "option":
            param.metavar = kind(param)


def kind(option: Any) -> str | None:
    """The metavar of an option: TEXT, PATH; empty for a switch; None for typer's own."""
    descriptor = getattr(option, "type_descriptor", None)  # newer versions of typer
    if option.is_flag or option.metavar or descriptor is None:
        return "" if option.is_flag else option.metavar
    annotation = descriptor.annotation
    if get_origin(annotation) in (list, tuple):
        annotation = get_args(annotation)[0]
    return getattr(annotation, "__name__", "text").upper().replace("STR", "TEXT")


@functools.cache
def _warn_once(text: str) -> None:
    """Warn once, since files are opened more than once."""
    warn([text])


def _leave(number: int, _: object) -> None:
    """Exit as on Ctrl-C: unfinished files are removed, finished ones stay."""
    complain(f"latentedit: terminated by {signal.Signals(number).name}; finished files were kept")
    raise SystemExit(128 + number)
