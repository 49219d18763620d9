"""The files of a call: which path below the root folder a name means, and which names are refused."""

import os
import urllib.parse
import urllib.request
from pathlib import Path

from latentedit.core.console import escaped
from latentedit.core.errors import ConfigError, OutputError
from latentedit.core.files import look_of


def input_file(root: Path, name: str) -> Path:
    """Return the path, relative to the root, of the existing file that a name means; a `ConfigError` if there is none.

    A name also matches the only file whose name looks the same. Screenshots of macOS have a narrow no-break space in
    their names, which models write as a plain space.
    """
    path = root
    for part in _beneath(root, name).parts:
        path = root / _beneath(root, str(path / _spelling_in(path, part)))
        # A name may have thousands of parts: the first one that is missing ends the search.
        if not os.path.lexists(path):
            break
    # `os.path` answers for names that are too long, for which `Path` raises an error.
    if not os.path.isfile(path):  # noqa: PTH113
        raise ConfigError(
            f"there is no file {name!r} in the root folder {root.name!r}, to which paths are relative. "
            "Check the path, or leave the argument out"
        )
    return path.relative_to(root)


def output_file(root: Path, argument: str, name: str) -> Path:
    """Return the path, relative to the root, of a new file; an error if it exists, or if its folder does not."""
    path = _beneath(root, name)
    if escaped(path.name) != path.name:
        raise ConfigError(f"the name '{escaped(path.name)}' contains a control character. Choose another `{argument}`")
    if os.path.lexists(root / path):
        raise ConfigError(f"{path} already exists. Choose another `{argument}`")
    if not os.path.isdir(root / path.parent):  # noqa: PTH112
        raise OutputError(f"the folder {path.parent} does not exist. Name one that does")
    return path


def folder(root: Path, name: str) -> Path:
    """Return the real path of what a name means below the root."""
    return root / _beneath(root, name)


def _beneath(root: Path, name: str) -> Path:
    """Return the path that a name means, relative to the root, without links; a `ConfigError` if it is outside."""
    local = name
    if name.lower().startswith("file:"):
        local = urllib.request.url2pathname(urllib.parse.urlsplit(name).path)
    try:
        path = Path(os.path.realpath(root / local))
    except ValueError as error:
        raise ConfigError(
            f"{name!r} cannot be read: it contains a character that no path has. Check the path"
        ) from error
    if not path.is_relative_to(root):
        raise ConfigError(
            f"{name!r} is outside the root folder {root.name!r} of the server, or a link that leads out of it. "
            "Pass a path inside it"
        )
    return path.relative_to(root)


def _spelling_in(folder: Path, name: str) -> str:
    """Return the only name in a folder that looks like this one, or this one if it exists or is ambiguous."""
    if not os.path.isdir(folder) or os.path.lexists(folder / name):  # noqa: PTH112
        return name
    look = look_of(name)
    names = [entry.name for entry in folder.iterdir() if look_of(entry.name) == look]
    return names[0] if len(names) == 1 else name
