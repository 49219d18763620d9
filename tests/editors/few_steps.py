"""Every registered editor with settings that cost little."""

from latentedit.editors.base import Editor
from latentedit.editors.registry import editor_class

_OWN = {
    "eim": {"search": {"steps": 2}},
    "sds": {"steps": 2},
    "dds": {"steps": 2},
    "diffedit": {"steps": 3, "maps": 1},
    "pullback": {"steps": 3, "rank": 2, "iterations": 1, "repeats": 1},
    "loco": {"steps": 3, "rank": 2, "iterations": 1, "maps": 1},
}


def few_steps(name: str) -> Editor:
    """Three steps, but for those that need other settings."""
    return editor_class(name).from_dict(_OWN.get(name, {"steps": 3}))
