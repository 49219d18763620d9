"""The command line. Every command is an entry point of the group ``latentedit.commands``, third parties' included.

Commands import torch and diffusers inside their bodies, so that help, completion and wrong arguments are answered at
once.
"""

import itertools
import os
import re
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
import typer.core

from latentedit._version import __version__
from latentedit.cli.panels import MODEL, OUTPUT, SEE_MODEL
from latentedit.core.errors import ConfigError, LatentEditWarning, RegistryError, UnknownImageError
from latentedit.core.plugins import COMMANDS
from latentedit.core.process import collect_garbage_less_often, keep_freed_memory, leave_without_collecting
from latentedit_keep.base.console import echo
from latentedit_keep.program import GROUPS, UsageError, execute, explained, help_page, invoke, name_kinds

_COMPLETING = "_LATENTEDIT_COMPLETE"  # set by a shell that requests completions, see typer
_HOME = re.compile(r"\A(--[\w-]+=)?~(?=/|\Z)")  # a tilde that the shell did not expand, as in --output=~/me.png


def _version(version: bool) -> bool:
    if version:
        echo(f"latentedit {__version__}")
        raise typer.Exit
    return version


def _remember_debug(context: typer.Context, debug: bool) -> None:
    if debug and isinstance(context.obj, dict):
        context.obj["debug"] = True


class _Program(typer.core.TyperGroup):
    """All installed commands. Only the one that runs is imported; ``--help`` imports all, which takes 0.15 s more."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 (signature of typer)
        ours = [name for names in GROUPS.values() for name in names if name in COMMANDS.points()]
        return list(dict.fromkeys([*ours, *COMMANDS.names()]))

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
        ours = (title for title, names in GROUPS.items() if cmd_name in names)
        command.rich_help_panel = next(ours, f"Commands of {package}")
        return command


app = typer.Typer(
    name="latentedit",
    cls=_Program,
    help="""Keep only the change of any image editor, or edit images in the latent space of diffusion models.

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
    """,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
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
            arrange(command, all_options=all_options)
        name_kinds(command)
    return commands[0]


def arrange(command: Any, *, all_options: bool) -> None:
    """Show a command's own options first, those that all commands share last, and of those of the model only one."""
    shown = {param.rich_help_panel for param in command.params}
    panel = MODEL if all_options else OUTPUT if OUTPUT in shown else None
    for shared in (command.params[-1], command.get_help_option(typer.Context(command))):
        shared.rich_help_panel = panel
    of_model = [param for param in command.params if param.rich_help_panel == MODEL]
    if not all_options and _COMPLETING not in os.environ and "model" in (param.name for param in of_model):
        for param in of_model:
            param.hidden, param.help, param.rich_help_panel = param.name != "model", SEE_MODEL, None
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
    program: Any = typer.main.get_command(app)
    program.help = help_page(program.help)
    name_kinds(program)

    def command() -> None:
        check_arrows(arguments)
        if _COMPLETING in os.environ:
            program(arguments, prog_name="latentedit")
        with program.make_context("latentedit", arguments, obj=shared) as context:
            program.invoke(context)

    return invoke(
        command, lambda error: None if "debug" in shared and not isinstance(error, UsageError) else _message(error)
    )


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


def _message(error: Any) -> str | None:
    """Problem and remedy of an expected error; None for a fault of this program."""
    if isinstance(error, UnknownImageError):
        return f"{error}. Choose another model with --model, or use --force"
    if type(error).__name__ == "OutOfMemoryError":  # torch's class by name, because torch may not be imported
        reason = ". ".join(str(error).split(". ")[:2]).rstrip(".")
        return f"{reason}. Try --placement model, --placement groups, --dtype, or a smaller image"
    return explained(error)


def main() -> None:
    """Run the program: no traceback for an expected error, a traceback and exit code 70 for an internal one."""
    for library in ("TRANSFORMERS_VERBOSITY", "DIFFUSERS_VERBOSITY"):
        os.environ.setdefault(library, "error")
    warnings.simplefilter("ignore", LatentEditWarning)  # commands print it themselves
    keep_freed_memory()
    collect_garbage_less_often()
    code = execute(run)
    leave_without_collecting()
    sys.exit(code)


if __name__ == "__main__":
    main()
