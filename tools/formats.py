"""Whether what is stored in files changed without a new format number: ``python -m tools.formats [--write]``.

`formats.json` has the number of each format and the fields of its classes. ``--write`` stores those of today, unless
the fields of a number would change. Settings of editors and calibrations have no number: a field that is gone from them
must be read under its old name (see `core.setting.from_plain`) before its line is removed from the file.
"""

import dataclasses
import json
import sys
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydantic

from latentedit.batch import folder
from latentedit.calibration.guard import CalibratedSettings
from latentedit.core.plugins import EDITORS
from latentedit.core.recipe import Recipe
from latentedit.editors.base import Editor, editor_class
from latentedit.editors.judge import Judge
from latentedit.encoding import record
from latentedit.encoding.familiarity import Guard
from latentedit.identification import direction
from latentedit.identification.hsds import HSDS
from latentedit.keeping import api
from latentedit.keeping.checking import Report
from latentedit.numerics.condition import Condition

STORED = Path(__file__).with_suffix(".json")
_NUMBERED: dict[str, tuple[Any, tuple[type, ...]]] = {
    "record": (record.FORMAT, (record.RunRecord, Recipe)),
    "record of keep": (api.FORMAT, (api.KeepRecord,)),
    "direction": (direction.FORMAT, (direction.Direction, direction.EffectCalibration)),
    "run folder": (folder.FORMAT, (folder.Manifest, folder.UnitRecord)),
    "report of check": (Report.__dataclass_fields__["format"].default, (Report,)),
}


def fields(kind: Any) -> dict[str, str]:
    """Names and types of the fields of a class, and of the classes of ours that these contain."""
    if pydantic.BaseModel in getattr(kind, "__mro__", ()):
        types = {name: field.annotation for name, field in kind.model_fields.items()}
    elif dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind, localns={"Editor": Editor})
        types = {field.name: hints[field.name] for field in dataclasses.fields(kind)}
    else:
        return {}
    found = {f"{_text(kind)}.{name}": _text(one) for name, one in types.items()}
    for part in [part for one in types.values() for part in _parts(one) if part not in (kind, Condition)]:
        found |= fields(part)
    return found


def _parts(kind: Any) -> Iterator[Any]:
    yield kind
    for part in typing.get_args(kind):
        yield from _parts(part)


def _text(kind: Any) -> str:
    text = kind.__name__ if isinstance(kind, type) and not typing.get_args(kind) else str(kind)
    return text.replace("typing.", "").replace("collections.abc.", "")


def today() -> dict[str, dict[str, Any]]:
    """The formats of this version."""
    numbered = {
        name: {"format": number, "fields": dict(sorted(one for kind in kinds for one in fields(kind).items()))}
        for name, (number, kinds) in _NUMBERED.items()
    }
    ours = [editor_class(name) for name in EDITORS.names() if not EDITORS.requirements(name)]
    kinds = [HSDS, Judge, Guard, CalibratedSettings, *ours]
    return numbered | {"settings": {"fields": {name: text for kind in kinds for name, text in fields(kind).items()}}}


def faults(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Changes in the fields of a format whose number is as before, one line each."""
    found = list[str]()
    for name, old in before.items():
        new = now[name]
        names = {**old["fields"], **new["fields"]}
        changed = [field for field in names if old["fields"].get(field) != new["fields"].get(field)]
        if "format" not in new:
            changed = [field for field in old["fields"] if field not in new["fields"]]
            found += [f"{name}: {field} is gone. Read it under its old name" for field in changed]
        elif changed and old["format"] == new["format"]:
            found.append(
                f"{name}: {', '.join(changed)} changed in format {new['format']}. Raise it; read the one before"
            )
    return found


def main() -> int:
    """1 if a format changed without a new number, or is not stored."""
    before, now = json.loads(STORED.read_text(encoding="utf-8")), today()
    problems = faults(before, now)
    if not problems and "--write" in sys.argv:
        STORED.write_text(json.dumps(now, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    elif not problems and before != now:
        problems = ["formats.json is not that of today. Run python -m tools.formats --write"]
    print(*problems, sep="\n", end="\n" if problems else "", file=sys.stderr)
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
