"""The settings that suit a model, and calibrations, which are found on the user's machine by the weights' fingerprint.

A calibration is one JSON object with the fingerprint and a key for each part. It lies in the user's data folder; one
that comes with a model lies in its folder's ``latentedit.json`` under "calibration", and the user's wins.

Settings come from the first of these that has them: what the caller gives; what the model's maker tuned
(``latentedit.json``); the calibration; what was published for the model's family; the library's defaults. A calibration
that is preferred comes before what the maker tuned. `ModelSettings` decides that.
"""

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from latentedit.core.errors import FileFormatError
from latentedit.core.files.reading import user_folder
from latentedit.models.base import Backbone
from latentedit.models.model_settings import change_json
from latentedit.models.weights import read_json
from latentedit_keep.files import make_folder, user_path

VARIABLE = "LATENTEDIT_DATA"
"""Environment variable: the folder for calibrations, instead of the platform's."""

CALIBRATION = "calibration"
"""Key of ``latentedit.json``."""

GUARD, SETTINGS, NO_CHANGE = "guard", "settings", "no_change"
"""Keys of a calibration: its parts."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ModelSettings:
    """Decides which settings win for a model.

    Args:
        maker: content of ``latentedit.json``.
        calibration: of the model; empty without one.
        published: settings of editors, by name, that were published for the model's family.
    """

    maker: Mapping[str, Any]
    calibration: Mapping[str, Any]
    published: Mapping[str, Any]

    @classmethod
    def of(cls, backbone: Backbone) -> Self:
        """The settings of a loaded model."""
        return cls(maker=backbone.defaults, calibration=calibration_of(backbone), published=backbone.published)

    @property
    def tuned(self) -> bool:
        """Somebody tuned editors for this model, or it was calibrated."""
        return "editors" in self.maker or SETTINGS in self.calibration

    @property
    def judge(self) -> Mapping[str, Any]:
        """Thresholds of verdicts."""
        return self._winner("judge", self.maker.get("judge")) or {}

    @property
    def local(self) -> bool | None:
        """Whether `eim` keeps its change to where it is strong; None where no calibration in use says so."""
        settings = self._settings.get("local") if self.uses_calibration else None
        return settings if isinstance(settings, bool) else None

    @property
    def calibrated(self) -> Mapping[str, Any] | None:
        """Settings of `eim` that a calibration found, in use or not."""
        return self._settings.get("eim")

    @property
    def uses_calibration(self) -> bool:
        """A calibration's settings of `eim` come before the maker's."""
        return self._tuned("eim") is None or self._settings.get("preferred", False)

    def editor(self, name: str) -> Mapping[str, Any]:
        """Settings of an editor. What was published counts only where the maker tuned no editor at all."""
        winner = self._winner(name, self._tuned(name))
        if winner is not None:
            return winner
        return {} if "editors" in self.maker else self.published.get(name, {})

    @property
    def _settings(self) -> Mapping[str, Any]:
        return self.calibration.get(SETTINGS, {})

    def _tuned(self, editor: str) -> Mapping[str, Any] | None:
        return self.maker.get("editors", {}).get(editor)

    def _winner(self, name: str, tuned: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
        settings = self._settings.get(name)
        if not isinstance(settings, Mapping):
            return tuned
        return settings if tuned is None or self._settings.get("preferred", False) else tuned


def calibration_of(backbone: Backbone) -> Mapping[str, Any]:
    """The calibration of a loaded model; empty where it has none."""
    return read_calibration(backbone.fingerprint, backbone.defaults)


def read_calibration(fingerprint: str, maker: Mapping[str, Any]) -> Mapping[str, Any]:
    """The user's calibration of a model, else that of the model's ``latentedit.json``; empty if neither exists.

    A calibration of other weights does not count: a LoRA or further training makes another model.
    """
    file = calibration_file(fingerprint)
    stored = maker.get(CALIBRATION, {})
    if fingerprint and file.is_file():
        try:
            stored = read_json(file)
        except ValueError as error:
            raise FileFormatError(
                f"the calibration {file} is damaged: {error}. Delete it, and calibrate again"
            ) from None
    if not fingerprint or stored.get("fingerprint") != fingerprint:
        return {}
    for part, value in stored.items():
        if part != "fingerprint" and not isinstance(value, Mapping):
            raise FileFormatError(
                f"the part {part!r} of the calibration of {fingerprint} is no object. Calibrate again"
            )
    return stored


def store_calibration(fingerprint: str, parts: Mapping[str, Any]) -> Path:
    """Write parts of a model's calibration to the user's data folder; other parts stay."""
    file = calibration_file(fingerprint)
    make_folder(file.parent)
    change_json(file, {"fingerprint": fingerprint, **parts})
    return file


def calibration_file(fingerprint: str) -> Path:
    """The file of a model's calibration; it need not exist."""
    chosen = os.environ.get(VARIABLE)
    return (user_path(chosen) if chosen else user_folder("data")) / "calibrations" / f"{fingerprint}.json"
