"""What was found out about a model on one's own machine, by the fingerprint of its weights.

A calibration is one JSON object: what each part of it says, a part a key, and the fingerprint. It lies in the user's
data folder; one that comes with a model lies in its folder's ``latentedit.json`` under "calibration", and the user's
comes first.

Settings are taken from the first of these that has them (`suitable`): what the caller gives; what the model's maker
tuned (``latentedit.json``); the calibration; what was published for the model's family; the library's defaults. A
calibration that is preferred comes before what the maker tuned.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from latentedit.core.errors import FileFormatError
from latentedit.core.files.reading import user_folder
from latentedit.models.base import Backbone
from latentedit.models.settings_file import change_json
from latentedit.models.weights import read_json
from latentedit_keep.files import make_folder, user_path

VARIABLE = "LATENTEDIT_DATA"
"""Environment variable: the folder for what is kept, in place of the platform's."""

SETTING = "calibration"
"""Key of ``latentedit.json``."""

SETTINGS = "settings"
"""Key of a calibration: settings that were found for the model, by what they are of."""

PREFERRED = "preferred"
"""Key of these settings: whether they come before what the model's maker tuned."""


def calibration_of(backbone: Backbone) -> Mapping[str, Any]:
    """What is known of a model: the user's own, else what came with it; empty where there is neither.

    One of other weights counts as none: a LoRA or a further training makes another model.

    Raises:
        FileFormatError: a file that is damaged.
    """
    return known_calibration(backbone.fingerprint, backbone.defaults)


def known_calibration(fingerprint: str, settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """The same by what a model's folder says; see `calibration_of`.

    Args:
        fingerprint: of the weights.
        settings: content of ``latentedit.json``.
    """
    place = calibration_file(fingerprint)
    stored = read_calibration(place) if fingerprint and place.is_file() else settings.get(SETTING, {})
    if not fingerprint or stored.get("fingerprint") != fingerprint:
        return {}
    for part, value in stored.items():
        if part != "fingerprint" and not isinstance(value, Mapping):
            raise FileFormatError(
                f"the part {part!r} of the calibration of {fingerprint} is no object. Calibrate again"
            )
    return stored


def suitable(backbone: Backbone, name: str, own: Mapping[str, Any] | None) -> Any:
    """Settings that suit a model, its maker's or calibrated ones; None where nobody found any.

    Args:
        name: such as "eim" or "judge".
        own: what the model's maker tuned; None where that is nothing.

    Raises:
        FileFormatError: a calibration that is damaged.
    """
    found = calibration_of(backbone).get(SETTINGS, {})
    return found.get(name, own) if own is None or found.get(PREFERRED, False) else own


def read_calibration(place: Path) -> dict[str, Any]:
    """The content of a calibration's file.

    Raises:
        FileFormatError: a file that is damaged.
    """
    try:
        return read_json(place)
    except ValueError as error:
        raise FileFormatError(f"the calibration {place} is damaged: {error}. Delete it, and calibrate again") from None


def store_calibration(fingerprint: str, parts: Mapping[str, Any]) -> Path:
    """Keep parts of a model's calibration in the user's data folder; other parts stay.

    Raises:
        OutputError: the folder cannot be written to.
        ModelError: the file that is there holds no JSON object.
    """
    place = calibration_file(fingerprint)
    make_folder(place.parent)
    change_json(place, {"fingerprint": fingerprint, **parts})
    return place


def calibration_file(fingerprint: str) -> Path:
    """Where the calibration of a model lies, or would."""
    chosen = os.environ.get(VARIABLE)
    return (user_path(chosen) if chosen else user_folder("data")) / "calibrations" / f"{fingerprint}.json"
