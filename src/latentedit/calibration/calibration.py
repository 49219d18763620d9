"""The calibration of a model: what it knows, and from where on an edit counts as done or damaged."""

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Literal, get_args

from latentedit.calibration.guard import (
    CalibratedSettings,
    GuardCalibration,
    calibrate_guard,
    calibrate_no_change,
)
from latentedit.calibration.verdict import VerdictCalibration, calibrate_verdict
from latentedit.core.console import Progress
from latentedit.core.errors import ConfigError
from latentedit.core.setting import to_plain
from latentedit.editors.eim import EIM
from latentedit.encoding.encode import ImageLike
from latentedit.encoding.familiarity import Guard
from latentedit.models import model_settings
from latentedit.models.base import Backbone

CalibrationPart = Literal["settings", "guard", "no_change"]
CALIBRATION_PARTS: tuple[CalibrationPart, ...] = get_args(CalibrationPart)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What a calibration measured of a model; a part that was not calibrated is None.

    Args:
        fingerprint: of the model that was calibrated.
        settings: the verdict of an editor, and the range of its strengths.
        guard: the losses by which an image is known or unknown.
        no_change: wording of an instruction to change nothing to the error of its edits.
    """

    fingerprint: str
    settings: CalibratedSettings | None = None
    guard: Guard | None = None
    no_change: Mapping[str, float] | None = None

    @property
    def parts(self) -> dict[str, dict[str, object]]:
        """The calibrated parts as plain values, by the names in the file."""
        parts: dict[str, dict[str, object]] = {}
        if self.guard is not None:
            parts[model_settings.GUARD] = to_plain(self.guard)
        if self.settings is not None:
            parts[model_settings.SETTINGS] = to_plain(self.settings)
        if self.no_change is not None:
            parts[model_settings.NO_CHANGE] = dict(self.no_change)
        return parts

    def save(self, folder: Path | None = None) -> Path:
        """Store the calibration in the user's data folder, or with the model itself.

        Parts of the model's stored calibration that this one does not have stay.

        Args:
            folder: of the model, to store the calibration in its ``latentedit.json`` for every
                user of the model.

        Returns:
            The file.

        Raises:
            OutputError: the file cannot be written.
        """
        if folder is None:
            return model_settings.store_calibration(self.fingerprint, self.parts)
        file = folder / model_settings.SETTINGS_FILE
        stored: Mapping[str, object] = {}
        if file.is_file():
            stored = model_settings.read_settings(folder).get(model_settings.CALIBRATION, {})
        if stored.get("fingerprint") != self.fingerprint:
            stored = {"fingerprint": self.fingerprint}
        model_settings.write_settings(folder, {model_settings.CALIBRATION: {**stored, **self.parts}})
        return file


def calibrate(
    model: Backbone,
    *,
    captions: Sequence[str] = (),
    images: Sequence[ImageLike] = (),
    editor: EIM | None = None,
    preferred: bool = False,
    parts: Collection[CalibrationPart] = CALIBRATION_PARTS,
    guard_sizes: GuardCalibration | None = None,
    verdict_sizes: VerdictCalibration | None = None,
    progress: Progress | None = None,
) -> Calibration:
    """Calibrate a model without ground truth, on images that it draws or on given ones.

    Args:
        model: with an image codec and a fingerprint.
        captions: to draw from; by default examples by the model's captioner, or general ones.
        images: images to edit for the verdict instead of drawn ones, described by the captions.
        editor: whose edits are judged; by default the one that `edit` uses for the model.
        preferred: whether the settings override those of the model's author.
        parts: what is calibrated: "settings" (the verdict), "guard", and "no_change", which only
            models that take instructions have.
        guard_sizes: number of images, steps and seed of the guard.
        verdict_sizes: number of images, steps and seed of the verdict.
        progress: called after each batch.

    Raises:
        ConfigError: a model without images or fingerprint, captions that all say the same, or an
            unknown part.
        ImageError: an image that cannot be read.

    Cost:
        About 13,000 evaluations for all parts with the default sizes.
    """
    for part in parts:
        if part not in CALIBRATION_PARTS:
            raise ConfigError(f"a calibration has no part {part!r:.60}. Give some of {', '.join(CALIBRATION_PARTS)}")
    settings = guard = no_change = None
    # Edits evaluate guard and verdict at one noise level, so the guard is calibrated at the verdict's.
    level = None
    if "settings" in parts:
        settings = calibrate_verdict(
            model,
            editor=editor,
            captions=captions,
            images=images,
            how=verdict_sizes,
            progress=progress,
        )
        settings = dataclasses.replace(settings, preferred=preferred)
        if preferred or "judge" not in model.defaults:
            level = settings.judge.level
    if "guard" in parts:
        guard = calibrate_guard(model, captions=captions, how=guard_sizes, level=level, progress=progress)
    if "no_change" in parts:
        no_change = calibrate_no_change(model, captions=captions, how=guard_sizes)
    return Calibration(fingerprint=model.fingerprint, settings=settings, guard=guard, no_change=no_change)
