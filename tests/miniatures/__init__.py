"""Stock pipelines of every family with random weights, a few hundred kilobytes each, made without a download.

Nothing in them is trained: they exist so that an adapter can be compared with the stock pipeline.
"""

import functools
import inspect
from collections.abc import Callable
from typing import Any

from latentedit.testing.miniature import sd3_pipeline
from tests.miniatures import flow, noise

MINIATURES: dict[str, Callable[[], Any]] = {
    **{
        name: make
        for module in (flow, noise)
        for name, make in vars(module).items()
        if inspect.isfunction(make) and make.__module__ == module.__name__ and not name.startswith(("_", "miniature"))
    },
    "sd3": functools.partial(sd3_pipeline, t5=True),
}
"""Every function of `flow` and `noise` that makes a pipeline: golden cases take theirs here."""
