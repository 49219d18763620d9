"""The program ``latentedit``: its command line, help, messages and exit codes."""

import errno
import functools
import importlib.metadata
import inspect
import io
import itertools
import os
import re
import shlex
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import typer
import typer.core

from latentedit.cli.commands import COMMANDS, TORCH_FREE_COMMANDS, panel_of
from latentedit.core.console import close_streams, complain, echo, fail, warn
from latentedit.core.errors import (
    ConfigError,
    LatentEditError,
    LatentEditWarning,
    RegistryError,
    UnknownImageError,
    did_you_mean,
    expected,
    in_our_words,
    listed,
    to_install,
)
from latentedit.core.options import MODEL, OUTPUT
from latentedit.core.other_words import advice_on
from latentedit.core.plugins import explain_missing_models, has_models
from latentedit.core.process import (
    COLLECT_AFTER_IMPORTS,
    collect_garbage_less_often,
    keep_freed_memory,
    leave_without_collecting,
)

INTERRUPTED = 130  # exit code: 128 and SIGINT
FAULT = 70  # exit code of an internal error: EX_SOFTWARE of sysexits.h
UsageError: type[Exception] = typer.BadParameter.__mro__[2]  # click's ClickException, which typer 0.26 and later copy
_POSSIBLE = re.compile(r" \(Possible options: (.*)\)")  # click's wording of "did you mean"
_EXTRA = re.compile(r"got unexpected extra arguments?(?:\(s\))? \((.*)\)")  # its wording of too many arguments
_NAMED = {
    "--prompt": "a text with --prompt",
    "--output": "an output with -o",
}  # texts that people type without their option
_VERBS = ("add", "remove")  # first words of a request in plain language; both are options
EXAMPLES = "Examples:"  # title of the section with examples
_VERBATIM = "\b"  # mark of a line that typer keeps as it is


_COMPLETING = "_LATENTEDIT_COMPLETE"  # set by a shell that requests completions, see typer
_HOME = re.compile(r"\A(--[\w-]+=)?~(?=/|\Z)")  # a tilde that the shell did not expand, as in --output=~/me.png
_SEE_MODEL = "A name, folder or hub id; see `latentedit help model`."
_HELP = """Keep only the change of any image editor, or edit images in the latent space of diffusion models.

    Examples:
        latentedit keep photo.jpg edited.png
        latentedit check photo.jpg edited.png --mask mask.png
        latentedit edit me.png --add glasses
        latentedit sweep me.png --add glasses --strengths=-1:1:9

    Exit codes:
        0    success
        1    completed with failures, which are listed; a check that failed
        2    invalid input; stderr states the problem and a remedy
        3    a check that is unsure
        70   internal error; please report it
        130  interrupted
    """
_HELP_NAMES: dict[str, Any] = {"help_option_names": ["--help", "-h"]}
_ALONE = f"For all other commands install models. {to_install('latentedit[models]')}"


def _version(version: bool) -> None:
    if version:
        echo(f"latentedit {importlib.metadata.version('latentedit')}")
        raise typer.Exit


def _remember_debug(context: typer.Context, debug: bool) -> None:
    if debug and isinstance(context.obj, dict):
        context.obj["debug"] = True


class _Program(typer.core.TyperGroup):
    """All installed commands. Only the one that runs is imported; ``--help`` imports all, which takes 0.15 s more."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 (signature of typer)
        names = list(dict.fromkeys([*COMMANDS.own, *COMMANDS.names()]))
        if has_models():
            return names
        return [name for name in names if name in TORCH_FREE_COMMANDS]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        point = COMMANDS.points().get(cmd_name)
        try:
            command = prepared(cmd_name, COMMANDS.load(cmd_name))
        except RegistryError as error:
            if ctx.resilient_parsing:  # tab completion
                return None
            if point is None:
                raise
            command = _broken(cmd_name, error)
        package = "another package" if point is None or point.dist is None else point.dist.name
        command.rich_help_panel = panel_of(cmd_name) or f"Commands of {package}"
        return command


app = typer.Typer(
    name="latentedit",
    cls=_Program,
    help=_HELP if has_models() else re.sub(r" *latentedit (edit|sweep) .*\n", "", _HELP),
    epilog=None if has_models() else _ALONE,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings=_HELP_NAMES,
)


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, expose_value=False, help="Print the version.")
    ] = False,
    debug: Annotated[
        bool,
        typer.Option("--debug", callback=_remember_debug, expose_value=False, help="Show the traceback of an error."),
    ] = False,
) -> None: ...


def check_arrows(arguments: Sequence[str]) -> None:
    """Refuse an unquoted arrow: of ``--change => glasses``, the shell keeps ``--change =`` and redirects the output."""
    for before, word in itertools.pairwise(arguments if "--change" in arguments else ()):
        if word[-1:] in ("=", "-") and (before == "--change" or len(word) == 1):
            old, made = word[:-1] if before == "--change" else before, _empty_output()
            raise ConfigError(
                "the shell took the > of an unquoted arrow as a redirection and created an empty file. Write --change "
                f'"{" ".join([*old.split(), "=>", made or "NEW"])}", and delete the file {made or "of that name"}'
            )


def _empty_output() -> str | None:
    """The empty file in this folder to which standard output is redirected."""
    try:
        output = os.fstat(1)
        here = Path().iterdir() if not output.st_size else ()
        return next((file.name for file in here if os.path.samestat(file.lstat(), output)), None)
    except OSError:
        return None


def prepared(name: str, loaded: Any, *, all_options: bool = False) -> Any:
    """A command with its help formatted and ``--debug`` added to it and its subcommands."""
    group = typer.Typer(callback=lambda: None)  # a callback makes it a group
    if isinstance(loaded, typer.Typer):
        group.add_typer(loaded, name=name)
    else:
        group.command(name)(loaded)
    made: Any = typer.main.get_command(group)
    program: Any = typer.main.get_command(app)
    debug, commands = next(param for param in program.params if param.name == "debug"), [made.commands[name]]
    for command in commands:
        command.help = help_page(command.help or "")
        if hasattr(command, "commands"):
            commands.extend(command.commands.values())
        else:
            command.params.append(debug)
            _arrange(command, all_options=all_options)
        _name_kinds(command)
    return commands[0]


def _arrange(command: Any, *, all_options: bool) -> None:
    """Show a command's own options first, those that all commands share last, and of those of the model only one."""
    shown = {param.rich_help_panel for param in command.params}
    panel = MODEL if all_options else OUTPUT if OUTPUT in shown else None
    for shared in (command.params[-1], command.get_help_option(typer.Context(command, **_HELP_NAMES))):
        shared.rich_help_panel = panel
    of_model = [param for param in command.params if param.rich_help_panel == MODEL]
    if not all_options and _COMPLETING not in os.environ and "model" in (param.name for param in of_model):
        for param in of_model:
            param.hidden, param.help, param.rich_help_panel = param.name != "model", _SEE_MODEL, None
    command.params.sort(key=lambda param: param.rich_help_panel == OUTPUT)


def _broken(name: str, error: RegistryError) -> Any:
    """A stand-in for a command that cannot be imported: it is listed, and raises the error when it is used."""

    def explain() -> None:
        raise error

    anything = {"ignore_unknown_options": True, "allow_extra_args": True}
    return typer.core.TyperCommand(name, callback=explain, help=f"Not available: {error}", context_settings=anything)


def run(arguments: list[str]) -> int:
    """Run one command line, without the program's name, and return the exit code; internal errors are raised."""
    shared: dict[str, bool] = {}
    arguments = [_HOME.sub(lambda match: f"{match[1] or ''}{Path.home()}", word) for word in arguments]
    if arguments[:1] == ["help"] and not has_models():
        arguments = [*arguments[1:], "--help"]
    program: Any = typer.main.get_command(app)
    program.help = help_page(program.help)
    _name_kinds(program)

    def command() -> None:
        check_arrows(arguments)
        if _COMPLETING in os.environ:
            program(arguments, prog_name="latentedit")
        with program.make_context("latentedit", arguments, obj=shared) as context:
            program.invoke(context)

    def message(error: Any) -> str | None:
        is_shown = "debug" in shared and not isinstance(error, UsageError)
        return None if is_shown else explained(error, arguments)

    return _invoke(command, message)


def main() -> None:
    """Run the program: no traceback for an expected error, a traceback and exit code 70 for an internal one."""
    for library in ("TRANSFORMERS_VERBOSITY", "DIFFUSERS_VERBOSITY"):
        os.environ.setdefault(library, "error")
    # Commands print these warnings themselves.
    warnings.simplefilter("ignore", LatentEditWarning)
    keep_freed_memory()
    collect_garbage_less_often(COLLECT_AFTER_IMPORTS)
    code = execute(run)
    leave_without_collecting()
    sys.exit(code)


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


def _invoke(command: Callable[[], None], explain: Callable[[Any], str | None]) -> int:
    """Exit code of a command: 0 done, 1 done with failures, 2 wrong input, 130 interrupted."""
    # ``explain`` gives problem and remedy of an expected error; an error that it gives None for is raised.
    try:
        command()
        return 0
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


def explained(error: Any, arguments: Sequence[str] = ()) -> str | None:
    """Problem and remedy of an expected error of a command line; None for a fault of this program."""
    if isinstance(error, UnknownImageError):
        other = "let `latentedit keep` copy the edit of another program onto the original"
        return f"{error}. Choose another model with --model, use --force, or {other}"
    if line := expected(error, model="torch" in sys.modules):
        return line
    if isinstance(error, ModuleNotFoundError) and not has_models():
        return explain_missing_models("this")
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:  # any command may be given such a name
        return f"the file name {error.filename!s:.60}... is too long. Use a shorter one"
    if isinstance(error, UsageError):
        described: Any = error
        command = next((one for one in arguments[:1] if one in COMMANDS.points()), "")
        name = f"latentedit {command}".strip() if described.ctx is None else described.ctx.command_path
        text = _meant(described, arguments)
        if ". " in text and not text.endswith("?"):  # a remedy already
            return f"{text}, see {name} --help"
        return f"{text}{'' if text.endswith('?') else '.'} See: {name} --help"
    return None


def _meant(error: Any, arguments: Sequence[str]) -> str:
    """The message of click on an argument or option that a command does not have, with what was meant."""
    params = [] if error.ctx is None else error.ctx.command.params
    text = error.format_message().rstrip(".")
    text = text[:1].lower() + text[1:]
    options = [name for param in params for name in param.opts]
    if extra := _EXTRA.search(text):
        return f"unexpected argument '{extra[1]}'{_instead_of_extra(extra[1], error.ctx, options)}"
    if (option := re.match(r"no such option: (-.*?)(?: \(|$)", text)) and options:
        return f"no such option: {option[1]}. {_similar_option(option[1], options, arguments)}"
    commands = {} if error.ctx is None else getattr(error.ctx.command, "commands", {})
    if commands and (named := re.match(r"no such command '(.*?)'", text)):
        meant = did_you_mean(named[1], commands)
        hints = [f"{meant[:1].upper()}{meant[1:]}"] * bool(meant) + [f"There are: {listed(commands)}"]
        return f"no such command {named[1]!r}. {' '.join(hints)}"
    return _POSSIBLE.sub(r". Did you mean \1?", in_our_words(text))


def _similar_option(option: str, options: Sequence[str], arguments: Sequence[str]) -> str:
    """The hint on an option that a command does not have: a setting of the method, else similar options."""
    name = option.lstrip("-").replace("_", "-").lower()
    if "--set" in options and name.replace("-", "_") in _method_settings(arguments):
        return f"It is a setting of the method: --set {name.replace('-', '_')}=VALUE"
    long_options = [known for known in options if known.startswith("--")]
    similar = did_you_mean(f"--{name}", long_options)
    if similar:
        return f"{similar[0].upper()}{similar[1:]}"
    advice = advice_on(name)
    if advice:
        return f"Use {advice}"
    return f"The options are: {listed(long_options)}"


def _method_settings(arguments: Sequence[str]) -> set[str]:
    """The settings of the method that a command line names; empty without the extra ``models``."""
    if not has_models():
        return set()
    from latentedit.editing.request import setting_names

    method = next((value for option, value in itertools.pairwise(arguments) if option == "--method"), None)
    try:
        return setting_names(method)
    except LatentEditError:
        return set()


def _instead_of_extra(extra: str, context: Any, options: list[str]) -> str:
    """The remedy for an argument too many: the option that a request in words has, or another run for another file."""
    arguments = [param.name for param in context.command.params if param.param_type_name == "argument"]
    inputs = [value for name in arguments if isinstance(value := context.params.get(name), Path)]
    for words in (*map(str, inputs), extra):
        verb, _, what = words.partition(" ")
        if what and f"--{verb}" in options and verb in _VERBS:
            return f". Did you mean --{verb} {shlex.quote(what)}?"
    if len(inputs) == 1 and inputs[0].exists() and Path(extra).exists():
        return f". {context.command_path} takes one file; run it once for each"
    named = " and ".join(what for option, what in _NAMED.items() if option in options)
    return f". Give {named}" if named else ""


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


def _name_kinds(command: Any) -> None:
    """Show TEXT for the values of options, where typer shows <list[str]>, and nothing for a switch."""
    for param in command.get_params(typer.Context(command, **_HELP_NAMES)):  # its option of help is made here
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
