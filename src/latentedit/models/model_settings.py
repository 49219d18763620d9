"""Settings of a model: those that its folder recommends, those that a calibration found, and which of them win.

``latentedit.json`` in the folder of a model is checked by type and range. A calibration is found on the user's machine
and belongs to weights, by their fingerprint. It is one JSON object with the fingerprint and a key for each part, in the
user's data folder; one that comes with a model is in its ``latentedit.json`` under "calibration", and the user's wins.

Settings come from the first of these that has them: the caller; the makers of the model (``latentedit.json``); the
calibration; publications for the model's family; the defaults of the library. A calibration that is preferred comes
before the makers. `ModelSettings` decides that.
"""

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Self

import pydantic
from pydantic import Field

from latentedit.core.errors import FileFormatError, ModelError
from latentedit.core.files import make_folder, user_folder, user_path, write_text
from latentedit.models.base import Backbone
from latentedit.models.weights import read_model_json

SETTINGS_FILE = "latentedit.json"

VARIABLE = "LATENTEDIT_DATA"
"""Environment variable: the folder for calibrations, instead of the platform's."""

MAX_SIDE_PX = 16_384
"""Of the images that a model takes."""

CALIBRATION = "calibration"
"""Key of ``latentedit.json``."""

GUARD, SETTINGS, NO_CHANGE = "guard", "settings", "no_change"
"""Keys of a calibration: its parts."""

Table = Mapping[str, Any]


class _Settings(pydantic.BaseModel):
    """The keys that the library reads; other keys are allowed."""

    model_config = pydantic.ConfigDict(strict=True, extra="allow", allow_inf_nan=False)

    description: str = ""
    knows: str = ""
    captioner: str | None = None
    framer: str | None = None
    sizes: Annotated[Sequence[Annotated[int, Field(ge=1, le=MAX_SIDE_PX)]], Field(min_length=3, max_length=3)] = (
        1,
        1,
        1,
    )
    guidance: Annotated[float, Field(ge=-100, le=100)] = 1.0
    zero_tokens: Annotated[int, Field(ge=0, le=4096)] = 0
    window: Annotated[int, Field(ge=1, le=4096)] = 512
    vocabulary: Sequence[str] | None = None
    editors: Mapping[str, Table] = {}
    judge: Table = {}
    calibration: Table = {}
    transfer: Table = {}
    benchmark: Table = {}
    quality: Table = {}
    training_seconds: Table = {}
    fingerprint: str | None = None


def check_settings(settings: Mapping[str, Any], source: object) -> dict[str, Any]:
    """A copy of the settings of a source (a file or a model), after each known one was checked."""
    try:
        _Settings.model_validate(dict(settings))
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False)[0]
        name, why = ".".join(map(str, first["loc"])), first["msg"]
        raise ModelError(
            f"the settings of {source} are invalid, {name!r}: {why[:1].lower()}{why[1:]}. Correct or remove it"
        ) from error
    return dict(settings)


def read_settings(folder: Path) -> dict[str, Any]:
    """The settings of a model folder; empty without a ``latentedit.json``."""
    file = folder / SETTINGS_FILE
    return check_settings(read_model_json(file), file) if file.is_file() else {}


def write_settings(folder: Path, change: Mapping[str, object]) -> None:
    """Change some keys of the folder's ``latentedit.json`` and keep the others; see `change_json`."""
    change_json(folder / SETTINGS_FILE, change)


def change_json(path: Path, change: Mapping[str, object]) -> None:
    """Change some keys of a JSON file, or create it; atomic."""
    stored = read_model_json(path) if path.exists() else {}
    write_text(path, json.dumps(stored | dict(change), indent=1) + "\n")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ModelSettings:
    """Decides which settings win for a model."""

    maker: Mapping[str, Any]  # content of ``latentedit.json``
    calibration: Mapping[str, Any]  # the model's; empty without one
    published: Mapping[str, Any]  # settings of editors, by name, for the model's family

    @classmethod
    def of(cls, backbone: Backbone) -> Self:
        calibration = backbone.once("calibration", lambda: calibration_of(backbone))
        return cls(maker=backbone.defaults, calibration=calibration, published=backbone.published)

    @property
    def tuned(self) -> bool:
        """Somebody tuned editors for this model, or it was calibrated."""
        return "editors" in self.maker or SETTINGS in self.calibration

    @property
    def judge(self) -> Mapping[str, Any]:
        return self._winner("judge", self.maker.get("judge")) or {}

    @property
    def has_thresholds(self) -> bool:
        """Whether anybody measured what the model knows, or from where on an edit is done or damaged."""
        return GUARD in self.calibration or self._winner("judge", self.maker.get("judge")) is not None

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
            stored = read_model_json(file)
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
