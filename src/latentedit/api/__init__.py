"""What a person does with pictures: load, encode, identify, manipulate, edit, undo, replay."""

from typing import TYPE_CHECKING

from latentedit.core.lazy import exports

if TYPE_CHECKING:
    from latentedit.api.outputs import read_record
    from latentedit.api.request import EditRequest
    from latentedit.api.result import EditResult, Effect, write_sweep
    from latentedit.api.session import Session
    from latentedit.api.undo import undo_direction, undo_stored
    from latentedit.api.verbs import edit, edit_pictures, identify, load, manipulate, sweep, sweep_picture

__all__ = [
    "EditRequest",
    "EditResult",
    "Effect",
    "Session",
    "edit",
    "edit_pictures",
    "identify",
    "load",
    "manipulate",
    "read_record",
    "sweep",
    "sweep_picture",
    "undo_direction",
    "undo_stored",
    "write_sweep",
]

__getattr__, __dir__ = exports(
    __name__,
    {
        "EditRequest": "latentedit.api.request",
        "EditResult": "latentedit.api.result",
        "Effect": "latentedit.api.result",
        "Session": "latentedit.api.session",
        "edit": "latentedit.api.verbs",
        "edit_pictures": "latentedit.api.verbs",
        "identify": "latentedit.api.verbs",
        "load": "latentedit.api.verbs",
        "manipulate": "latentedit.api.verbs",
        "read_record": "latentedit.api.outputs",
        "sweep": "latentedit.api.verbs",
        "sweep_picture": "latentedit.api.verbs",
        "undo_direction": "latentedit.api.undo",
        "undo_stored": "latentedit.api.undo",
        "write_sweep": "latentedit.api.result",
    },
)
