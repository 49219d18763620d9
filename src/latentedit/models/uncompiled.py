"""Networks that `torch.compile` has compiled, run as they are written for a while."""

import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

_LOCK = threading.Lock()
_OPEN: list[Any] = []
"""PyTorch's stance, once for each context that is open: it is one for the whole process."""


@contextmanager
def uncompiled() -> Generator[None]:
    """Inside the context, compiled networks run as they are written, so that hooks of their modules act.

    Compiled code leaves out hooks that are registered after it was compiled, and says nothing. PyTorch before 2.6
    cannot be told to run anything else; `latentedit.models.sites` then finds that a hook was not reached.

    Compiled networks of other threads run so, too, as long as the context is open: their values differ by rounding.
    """
    stance: Any = getattr(sys.modules.get("torch._dynamo"), "set_stance", None)
    if stance is None:  # nothing has been compiled, or PyTorch is older
        yield
        return
    with _LOCK:
        _OPEN.append(_OPEN[0] if _OPEN else stance("force_eager"))
    try:
        yield
    finally:
        with _LOCK:
            held = _OPEN.pop()
            if not _OPEN:
                held.__exit__(None, None, None)
