"""Places to write to: checked before any work is spent on them, and never left with half a file."""

import contextlib
import secrets
from collections.abc import Generator
from pathlib import Path
from typing import BinaryIO

from safetensors import SafetensorError

from latentedit.core.errors import OutputError
from latentedit.core.files.reading import user_path


def check_place(path: str | Path, *, source: str | Path | None = None) -> None:
    """Find out whether a file could be written, before any work is spent on it.

    Args:
        source: the picture that is edited, which must not be overwritten.

    Raises:
        OutputError: a folder that is missing or cannot be written to, a name that is a folder, or the source itself.
    """
    path = user_path(path, error=OutputError)
    try:
        if path.is_dir():
            raise OutputError(f"the output {path} is a folder. Name a file in it")
        if not path.parent.is_dir():
            raise OutputError(f"the output folder {path.parent} does not exist. Create it first")
        if source is not None and path.resolve() == user_path(source, error=OutputError).resolve():
            raise OutputError(f"the output {path} is the picture itself. Choose another name")
        beside = _beside(path)
        beside.touch(exist_ok=False)
        beside.unlink()
    except OutputError:
        raise
    except OSError as error:
        raise _unwritable(path, error) from error


@contextlib.contextmanager
def written_beside(path: str | Path) -> Generator[BinaryIO]:
    """A new file in the same folder, renamed to ``path`` at the end; removed where anything was raised before.

    So no half-written file is ever seen, and what stood there stays until the new one is whole.

    Raises:
        OutputError: the place cannot be written to, or the disk is full.
    """
    path = user_path(path, error=OutputError)
    beside = _beside(path)
    try:
        with beside.open("xb") as file:
            yield file
        beside.replace(path)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        with contextlib.suppress(OSError):  # it was renamed, or never made
            beside.unlink()


@contextlib.contextmanager
def told_unwritable(path: str | Path) -> Generator[None]:
    """What a library could not write is told in our words.

    Args:
        path: of what is written inside the context, a file or a folder.

    Raises:
        OutputError: the place cannot be written to, or the disk is full.
    """
    try:
        yield
    except OutputError:
        raise
    except (OSError, SafetensorError) as error:
        raise _unwritable(Path(path), error) from error


def write_text(path: str | Path, text: str) -> None:
    """Write a text in UTF-8, its line ends as they are; see `written_beside`.

    Raises:
        OutputError: the place cannot be written to, or the disk is full.
    """
    with written_beside(path) as file:
        file.write(text.encode("utf-8"))


def make_folder(path: str | Path) -> None:
    """Make a folder and those above it where they are missing.

    Raises:
        OutputError: the place cannot be written to, or a file is there.
    """
    try:
        user_path(path, error=OutputError).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        why = error.strerror or str(error)
        raise OutputError(f"the folder {path} cannot be made: {why}. Choose another place") from error


def _beside(path: Path) -> Path:
    return path.with_name(f".{secrets.token_hex(8)}.tmp")


def _unwritable(path: Path, error: OSError | SafetensorError) -> OutputError:
    why = getattr(error, "strerror", None) or str(error)
    return OutputError(f"{path} cannot be written: {why}. Choose another place, or free space")
