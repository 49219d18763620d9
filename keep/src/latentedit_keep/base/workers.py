"""Worker processes."""

import multiprocessing
import os
import threading


def end_with_parent() -> None:
    """End this process when its parent ends, also by ``kill -9``."""
    if (parent := multiprocessing.parent_process()) is not None:

        def follow() -> None:
            parent.join()
            os._exit(1)

        threading.Thread(target=follow, daemon=True).start()
