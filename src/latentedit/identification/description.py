"""A direction described: its change, safe strengths, method and model."""

from collections.abc import Mapping
from typing import Any, cast

from latentedit.encoding.captions.base import one_line
from latentedit.encoding.captions.change import change_words
from latentedit.identification.direction import Direction, EffectCalibration

_SHOWN_LETTERS = 300
_SHOWN_CHANGES = 3
_FLOAT_BYTES = 4


def describe(direction: Direction) -> list[tuple[str, str]]:
    """Rows of label and text; each text is one line that can be printed, whoever wrote the direction.

    Returns:
        "change", "strength", "method", "settings" where there are any, "model", "direction", "found on", "license",
        "size", "preview" where there is one, and a "note" each.
    """
    calibration = direction.calibration
    rows = [
        ("change", _change(direction)),
        ("strength", "not calibrated" if calibration is None else _strength(calibration)),
        ("method", f"{direction.method}, from level {direction.level:g}"),
        ("settings", _items(direction.settings)),
        ("model", f"{direction.model_name} ({direction.model_fingerprint})"),
        ("direction", direction.fingerprint),
        ("found on", _count(len(direction.images), "image") if direction.images else "unnamed images"),
        ("license", direction.license or "none given"),
        ("size", _size(direction)),
        ("preview", f"PNG, {len(direction.preview) / 1000:.1f} kB" if direction.preview else ""),
        *(("note", note) for note in direction.notes),
    ]
    return [(label, _shown(text)) for label, text in rows if text]


def _change(direction: Direction) -> str:
    """The changes between captions; of a direction without captions, its name."""
    pairs = zip(direction.source_captions, direction.target_captions, strict=False)
    changes = [change_words(source, target) for source, target in pairs if target]
    if not changes:
        name = direction.settings.get("name")
        return name if isinstance(name, str) and name else "not known in words"
    shown = [change for change in dict.fromkeys(changes) if change != "=>"]
    if not shown:
        return "nothing"
    more = len(shown) - _SHOWN_CHANGES
    return "; ".join(shown[:_SHOWN_CHANGES]) + (f"; and {more} more" if more > 0 else "")


def _strength(calibration: EffectCalibration) -> str:
    ends = f"from {calibration.lowest:.2f} up to {calibration.highest:.2f}"
    steps = _count(calibration.steps, "step")
    return f"{ends} without damage, by the {calibration.arm} arm, level {calibration.level:g}, {steps}"


def _items(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {_value(value)}" for name, value in settings.items())


def _value(value: Any) -> str:
    match value:
        case float():
            return f"{value:g}"
        case None:
            return "none"
        case Mapping():
            return f"({_items(cast('Mapping[str, Any]', value))})"
        case list() | tuple():
            return f"[{', '.join(map(_value, cast('list[Any]', value)))}]"
        case _:
            return str(value)


def _size(direction: Direction) -> str:
    """Shapes of one image's displacement, the number of images, and the bytes of all of it."""
    parts = {"latent": direction.z, "tokens": direction.condition.tokens, "pooled": direction.condition.pooled}
    shapes = ", ".join(f"{name} {' x '.join(map(str, part.shape[1:]))}" for name, part in parts.items())
    batch = max(len(part) for part in parts.values())
    whose = "one for any image" if batch == 1 else f"one for each of {batch} images"
    size_bytes = _FLOAT_BYTES * sum(part.numel() for part in parts.values())
    return f"{shapes}; {whose}; {size_bytes / 1000:.1f} kB"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _shown(text: str) -> str:
    line = one_line(text)
    return line if len(line) <= _SHOWN_LETTERS else f"{line[:_SHOWN_LETTERS]}..."
