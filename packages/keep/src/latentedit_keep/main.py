"""The program ``latentedit``: all commands if the library is installed, else ``check``, ``keep`` and ``mcp`` alone."""

import importlib.util
import sys
import traceback
import warnings

import typer

from latentedit_keep.check_command import check
from latentedit_keep.command import keep
from latentedit_keep.console import close_streams, complain, fail, open_streams, warn
from latentedit_keep.errors import LatentEditError, to_install
from latentedit_keep.mcp_command import mcp

FAULT = 70  # exit code of an internal error: EX_SOFTWARE of sysexits.h
UsageError: type[Exception] = typer.BadParameter.__mro__[2]  # click's ClickException, which typer 0.26 and later copy

app = typer.Typer(name="latentedit", no_args_is_help=True, pretty_exceptions_enable=False)
app.command("check")(check)
app.command("keep")(keep)
app.command("mcp")(mcp)


@app.callback(epilog=f"For all other commands install the library. {to_install('latentedit')}")
def _options() -> None:
    """Check what an image editor changed, and keep only that, on the original's own pixels."""


def main() -> None:
    """Run the library's program if it is installed, else this one."""
    if importlib.util.find_spec("latentedit") is not None:
        importlib.import_module("latentedit.cli.main").main()
        return
    open_streams()
    warnings.showwarning = lambda message, *_, **__: warn([str(message)])
    sys.exit(close_streams(run(sys.argv[1:])))


def run(arguments: list[str]) -> int:
    """Exit code: 0 done, 1 done with failures, 2 wrong input, 70 internal error, 130 interrupted."""
    try:
        return int(typer.main.get_command(app).main(arguments, prog_name="latentedit", standalone_mode=False) or 0)
    except LatentEditError as error:
        fail(error)
    except (KeyboardInterrupt, typer.Abort):
        complain("latentedit: interrupted")
        return 130
    except UsageError as error:
        if type(error).__name__ != "NoArgsIsHelpError":
            fail(f"{error}. See: latentedit --help")
    except BrokenPipeError:  # the reader has left, as in `| head`
        return 0
    except Exception:  # noqa: BLE001 (reports every internal error)
        complain(traceback.format_exc(), indented=True)
        fail("internal error. Please report it with the traceback above")
        return FAULT
    return 2


if __name__ == "__main__":
    main()
