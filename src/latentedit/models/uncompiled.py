"""Networks that `torch.compile` has compiled, run as they are written for a while."""

import functools
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

from latentedit.core.process import SharedContext


@contextmanager
def uncompiled() -> Generator[None]:
    """Inside the context, compiled networks run as they are written, so that hooks of their modules act.

    Compiled code leaves out hooks that are registered after it was compiled, and says nothing. PyTorch before 2.6
    cannot be told to run anything else; `latentedit.models.sites` then finds that a hook was not reached.

    Compiled networks of other threads run so, too, as long as the context is open: their values differ by rounding.
    """
    if _set_stance() is None:  # nothing has been compiled, or PyTorch is older
        yield
        return
    with _EAGER.open():
        yield


def _set_stance() -> Any:
    return getattr(sys.modules.get("torch._dynamo"), "set_stance", None)


def _eager() -> Callable[[], object]:
    return functools.partial(_set_stance()("force_eager").__exit__, None, None, None)


_EAGER = SharedContext(_eager)
"""PyTorch's stance, which is one for the whole process."""
