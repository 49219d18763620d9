"""Records in files of strangers, as agents see them: of a known shape, with long texts cut."""

import json
from collections.abc import Mapping
from typing import Any

from latentedit.core.files import read_object
from latentedit.keeping.api import KeepRecord

_MOST_LETTERS = 200  # letters of a text
_MOST_LISTED = 1000  # letters of a list or of an object
_Kinds = Mapping[str, Any]
_NUMBER = (int, float)
_OR_NOT = (bool, type(None))
# The fields of the library's records of edits, which has their classes.
_RECIPE: _Kinds = {
    "method": str, "settings": dict, "via": list, "combine": str, "auto_mask": _OR_NOT, "refine": _OR_NOT,
    "subtract_residual": _NUMBER, "image_guidance": _NUMBER,
}  # fmt: skip
_EDIT: _Kinds = {
    "format": int, "output": str, "recipe": dict, "seed": int, "model": dict, "versions": dict, "image": dict,
    "instructed": bool, "references": list, "caption": str, "target_caption": str, "strengths": list,
    "directions": list, "stepped": str, "calibrated": bool, "evaluations": _NUMBER, "before": (dict, type(None)),
}  # fmt: skip
_IMAGE: _Kinds = {"name": str, "fingerprint": str, "mask": (str, type(None))}
_NEEDED = {"image", "caption", "target_caption", "strengths", "seed", "versions"}


def read_any(text: str, name: str) -> dict[str, Any]:
    """A record of `keep` or of an edit; a `ValueError` or `FileFormatError` for any other shape."""
    record = read_object(text)
    if record.get("output") == "kept":
        return json.loads(KeepRecord.from_json(text, name).to_json())
    if "recipe" not in record:  # the older format 1
        record["recipe"] = {key: record.pop(key) for key in _RECIPE if key in record}
    is_sound = _fits(record, _EDIT) and record.keys() >= _NEEDED and record["recipe"].keys() >= {"method", "settings"}
    if not (is_sound and _fits(record["recipe"], _RECIPE) and _fits(record["image"], _IMAGE)):
        raise ValueError("it has unknown fields, or others than those of an edit")
    texts, numbers = record["versions"].values(), record["strengths"]
    if not (all(isinstance(one, str) for one in texts) and all(isinstance(one, _NUMBER) for one in numbers)):
        raise ValueError("its versions are no texts, or its strengths no numbers")
    return record


def _fits(fields: Mapping[str, Any], kinds: _Kinds) -> bool:
    return all(key in kinds and isinstance(value, kinds[key]) for key, value in fields.items())


def clipped(value: Any, *, within: bool = False) -> Any:
    """A value with its texts cut to 200 letters; a long list or object becomes such a text."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if len(text) <= _MOST_LETTERS:
        return value
    short: Any = text
    if isinstance(value, dict) and not within:
        short = {clipped(key): clipped(one, within=True) for key, one in value.items()}
    elif isinstance(value, list) and not within:
        short = [clipped(one, within=True) for one in value]
    if short is not text and len(json.dumps(short, ensure_ascii=False)) <= _MOST_LISTED:
        return short
    half = _MOST_LETTERS // 2 - 2
    return f"{text[:half]}...{text[-half:]}"
