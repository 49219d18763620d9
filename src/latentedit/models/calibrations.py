"""What was found out about a model on one's own machine, by the fingerprint of its weights.

A calibration is one JSON object: what each part of it says, a part a key, and the fingerprint. It lies in the user's
data folder; one that comes with a model lies in its folder's ``latentedit.json`` under "calibration", and the user's
comes first.

Settings are taken from the first of these that has them (`suitable`): what the caller gives; what the model's maker
tuned (``latentedit.json``); the calibration; what was published for the model's family; the library's defaults. A
calibration that is preferred comes before what the maker tuned.
"""

import dataclasses
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from latentedit.core.errors import FileFormatError, ModelError, OutputError
from latentedit.core.files.user_folders import user_folder
from latentedit.core.progress import Progress
from latentedit.models.base import Backbone
from latentedit.models.settings_file import change_json
from latentedit.models.weights import read_json
from latentedit_keep.files import make_folder, user_path, write_text

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


def adopt_calibration(fingerprint: str, file: Path) -> Path:
    """Keep a calibration that somebody else made of the same model, in place of one's own.

    Args:
        fingerprint: of the model's weights.
        file: as `store_calibration` wrote it, elsewhere.

    Raises:
        FileFormatError: no calibration.
        ModelError: that of another model.
        OutputError: the user's data folder cannot be written to.
    """
    stored = read_calibration(file)
    if stored.get("fingerprint") != fingerprint:
        raise ModelError(
            f"{file} calibrates another model, of the fingerprint {stored.get('fingerprint')!r}; this one's is "
            f"{fingerprint!r}. Calibrate this model"
        )
    place = calibration_file(fingerprint)
    make_folder(place.parent)
    write_text(place, json.dumps(stored, indent=1) + "\n")
    return place


def forget_calibration(fingerprint: str) -> list[Path]:
    """Remove what the user's data folder has of a model's calibration, unfinished ones too.

    Returns:
        The files that were removed.

    Raises:
        OutputError: a file that cannot be removed.
    """
    place = calibration_file(fingerprint)
    found = [place, *place.parent.glob(f"{fingerprint}.*{_PARTIAL}")] if fingerprint else []
    gone = [one for one in found if one.is_file()]
    for one in gone:
        try:
            one.unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(f"{one} cannot be removed: {error.strerror}. Remove it yourself") from error
    return gone


@dataclasses.dataclass(slots=True)
class Unfinished:
    """What was measured of a part of a calibration so far, batch by batch, in a file.

    Two runs of one calibration find the same numbers, and each writes a whole file: neither spoils the other's.
    """

    place: Path
    part: str
    plan: Mapping[str, Any]
    batches: dict[str, Any]

    @classmethod
    def of(cls, fingerprint: str, part: str, plan: Mapping[str, Any]) -> "Unfinished":
        """What there is of this plan; nothing where there is another's, or nothing sound.

        Raises:
            OutputError: the user's data folder cannot be made.
        """
        place = _unfinished_file(fingerprint, part)
        make_folder(place.parent)
        try:
            stored = read_calibration(place) if place.is_file() else {}
        except FileFormatError:
            stored = {}
        return cls(place, part, plan, dict(stored["batches"]) if stored.get("plan") == plan else {})

    def add(self, name: str, batch: Mapping[str, Any]) -> None:
        """Keep what a batch gave.

        Raises:
            OutputError: the file cannot be written.
        """
        self.batches[name] = batch
        write_text(self.place, json.dumps({"plan": self.plan, "batches": self.batches}))

    def finished(
        self,
        batches: Sequence[range],
        measure: Callable[[range], Mapping[str, Any]],
        progress: Progress | None = None,
        *,
        total: int,
    ) -> list[Mapping[str, Any]]:
        """What all batches gave; those that are not there yet are measured, and each is kept at once.

        Args:
            batches: positions of the pictures of each.
            measure: a batch, from its positions.
            progress: called after each batch.
            total: batches, and what comes after them.

        Raises:
            OutputError: the file cannot be written.
        """
        for index, places in enumerate(batches):
            if str(index) not in self.batches:
                self.add(str(index), measure(places))
            if progress is not None:
                progress(self.part, index + 1, total)
        return list(self.batches.values())


def discard_unfinished(fingerprint: str, part: str) -> None:
    """Remove what was kept of a part, where there is anything."""
    _unfinished_file(fingerprint, part).unlink(missing_ok=True)


_PARTIAL = ".partial.json"


def _unfinished_file(fingerprint: str, part: str) -> Path:
    return calibration_file(fingerprint).with_name(f"{fingerprint}.{part}{_PARTIAL}")


def calibration_file(fingerprint: str) -> Path:
    """Where the calibration of a model lies, or would."""
    chosen = os.environ.get(VARIABLE)
    return (user_path(chosen) if chosen else user_folder("data")) / "calibrations" / f"{fingerprint}.json"
