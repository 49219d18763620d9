"""The paths of a tool's files: inside the root folder, through no link, and as the model probably meant them."""

import contextlib
import os
import re
import urllib.parse
from pathlib import Path

from latentedit.core.console import escaped
from latentedit.core.errors import ConfigError, OutputError
from latentedit.core.files import look_of
from latentedit.core.safe_paths import names_in


def inside(root: Path, name: str, *, new: bool = False) -> Path:
    """The path relative to the root, a real folder; raises a `ConfigError` if it is outside or goes through a link."""
    # The root itself may be a link. A name that does not exist, unless it is ``new``, also matches another spelling:
    # other kinds of spaces, other compositions of letters.
    if re.search("[\0\ud800-\udfff]", name):
        raise ConfigError(f"{name!r} cannot be read: it contains a character that no path has. Check the path")
    path = Path(os.path.normpath(root / _local(name)))
    top = next((place for place in (*reversed(path.parents), path) if _is_same(place, root)), None)
    if top is None:
        raise ConfigError(f"{name!r} is outside {_folder(root)}, to which paths are relative. Pass a path inside it")
    *folders, last = path.relative_to(top).parts or (".",)
    path = root
    for part in folders:
        path = _spelled(root, path, part)
    path = path / last if new else _spelled(root, path, last)
    if os.path.realpath(path) != str(path):
        raise ConfigError(f"{name!r} goes through a symbolic link, which is not allowed. Pass the file itself")
    return path.relative_to(root)


def _folder(root: Path) -> str:
    return f"the root folder {root.name!r} of the server"


def _is_same(place: Path, root: Path) -> bool:
    with contextlib.suppress(OSError):
        return place.samefile(root)
    return False


def _local(name: str) -> str:
    """The path that a name means: a file URI of this machine, or the name itself without quotes around it."""
    name = re.sub(r"""^\s*(["'`])(.+)\1\s*$""", r"\2", name).strip()
    found = re.match(r"(?i)(file|data|sandbox):|([a-z][a-z0-9+.-]+)://", name)
    if found is None:
        return name
    scheme, path, host = (found[1] or found[2]).lower(), name[5:], ""
    if path.startswith("//"):
        host, slash, path = path[2:].partition("/")
        path = slash + path
    if scheme != "file" or host.lower() not in ("", "localhost"):
        what = f"its host {host!r}" if scheme == "file" else f"its scheme {scheme!r}"
        raise ConfigError(f"{name[:80]!r} is not a local file: {what} is not supported. Pass a path in the root folder")
    try:
        return re.sub(r"^/(?=[A-Za-z]:[/\\])", "", urllib.parse.unquote(path, errors="strict"))
    except UnicodeDecodeError as error:
        raise ConfigError(f"{name!r} is not UTF-8 after %-decoding. Pass the plain path") from error


def _spelled(root: Path, folder: Path, part: str) -> Path:
    """The entry of a folder of this name, or the only one that equals it in NFKC with plain spaces."""
    if os.path.lexists(folder / part):
        return folder / part
    alike = sorted(name for name in names_in(root, folder.relative_to(root)) if look_of(name) == look_of(part))
    if len(alike) > 1:
        raise ConfigError(f"there is no {part!a}; similar names are {alike[0]!a} and {alike[1]!a}. Pass one of these")
    return folder / (*alike, part)[0]


def check_new(argument: str, path: Path) -> None:
    """Refuse a path where a file exists, which a tool never replaces, whose folder does not, or that no line shows."""
    if (shown := escaped(path.name)) != path.name:
        raise ConfigError(f"the name '{shown}' contains a control character. Choose another `{argument}`")
    if path.exists():
        raise ConfigError(f"{path} already exists. Choose another `{argument}`")
    if not path.parent.is_dir():
        raise OutputError(f"the folder {path.parent} does not exist. Name one that does")


def check_existing(root: Path, path: Path, name: str) -> None:
    """Refuse the path that a name means if there is no such file, with one that may have been meant."""
    if path.exists():
        return
    tails = (Path(*path.parts[start:]) for start in range(1, len(path.parts)))
    meant = next((tail for tail in tails if tail.is_file()), None) or _in_other_case(root, path)
    remedy = f"Did you mean '{meant}'?" if meant else "Check the path, or leave the argument out"
    raise ConfigError(f"there is no {name!r} in {_folder(root)}, to which paths are relative. {remedy}")


def _in_other_case(root: Path, path: Path) -> Path | None:
    """The file whose name differs in case only, or in the separators of another system; None unless there is one."""
    found = Path()
    for part in Path(str(path).replace("\\", "/")).parts:
        alike = [name for name in names_in(root, found) if look_of(name).casefold() == look_of(part).casefold()]
        if part in alike or len(alike) == 1:
            found /= part if part in alike else alike[0]
        else:
            return None
    return found
