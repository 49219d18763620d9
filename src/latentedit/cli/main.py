"""The library's part of the program: how its process is set up, and what its errors mean.

Commands import torch and diffusers inside their bodies, so that help, completion and wrong arguments are answered at
once.
"""

import itertools
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from latentedit.cli import program
from latentedit.core.errors import ConfigError, LatentEditError, LatentEditWarning, UnknownImageError
from latentedit.core.process import (
    COLLECT_AFTER_IMPORTS,
    collect_garbage_less_often,
    keep_freed_memory,
    leave_without_collecting,
)


def run(arguments: list[str]) -> int:
    """Run one command line, without the program's name, and return the exit code; internal errors are raised."""
    return program.run(arguments, explain=lambda error: _message(error, arguments), check=check_arrows)


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


def _message(error: Any, arguments: Sequence[str]) -> str | None:
    """Problem and remedy of an expected error; None for a fault of this program."""
    if isinstance(error, UnknownImageError):
        other = "let `latentedit keep` copy the edit of another program onto the original"
        return f"{error}. Choose another model with --model, use --force, or {other}"
    return program.explained(error, is_setting=lambda name: name in _settings(arguments))


def _settings(arguments: Sequence[str]) -> set[str]:
    """The settings of the method that a command line names."""
    from latentedit.editing.request import setting_names

    method = next((after for option, after in itertools.pairwise(arguments) if option == "--method"), None)
    try:
        return setting_names(method)
    except LatentEditError:
        return set()


def main() -> None:
    """Run the program: no traceback for an expected error, a traceback and exit code 70 for an internal one."""
    for library in ("TRANSFORMERS_VERBOSITY", "DIFFUSERS_VERBOSITY"):
        os.environ.setdefault(library, "error")
    warnings.simplefilter("ignore", LatentEditWarning)  # commands print it themselves
    keep_freed_memory()
    collect_garbage_less_often(COLLECT_AFTER_IMPORTS)
    code = program.execute(run)
    leave_without_collecting()
    sys.exit(code)


if __name__ == "__main__":
    main()
