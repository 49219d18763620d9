"""What a library cannot write, in our words."""

import contextlib
from collections.abc import Generator
from pathlib import Path

from safetensors import SafetensorError

from latentedit.core.errors import OutputError
from latentedit_keep.files import unwritable


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
        raise unwritable(Path(path), error) from error
