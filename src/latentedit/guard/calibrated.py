"""Settings of Encode, Identify, Manipulate and of its verdicts that were found for a model without right answers."""

from collections.abc import Mapping

from latentedit.core.settings import Count, Natural, from_plain, settings
from latentedit.directions.hsds import HSDS
from latentedit.editors.eim import EIM
from latentedit.editors.judge import Judge
from latentedit.models.base import Backbone
from latentedit.models.calibrations import SETTINGS, calibration_of


@settings
class CalibratedSettings:
    """What a calibration found (`api.settings_search`), and what it was chosen by.

    Args:
        eim: the editor.
        local: its change is kept to where it is strong.
        judge: of verdicts: the level at which the model tells best what an edit did, and its thresholds.
        strengths: lowest and highest to which all pictures that were looked at can be taken undamaged.
        pictures: on which settings were compared.
        evaluations: of the network, that an edit takes.
        preferred: used in place of what the model's maker tuned.
        tried: name of each of the settings to its mean criteria (`editors.criteria`), the best first.
    """

    eim: EIM
    local: bool
    judge: Judge
    strengths: tuple[float, float]
    pictures: Count
    evaluations: Natural
    preferred: bool = False
    tried: Mapping[str, Mapping[str, float]]

    @classmethod
    def of(cls, backbone: Backbone) -> "CalibratedSettings | None":
        """Those of a model, used or not; None where it has none.

        Raises:
            FileFormatError, ConfigError: a calibration that is damaged.
        """
        stored = calibration_of(backbone).get(SETTINGS)
        return None if stored is None else from_plain(cls, stored)

    @property
    def text(self) -> str:
        """What was found, in one clause."""
        low, high = self.strengths
        return (
            f"{next(iter(self.tried))}{'' if self.local else ', not local'}; an edit takes {self.evaluations} "
            f"evaluations; strengths {low:.1f} to {high:.1f}; verdict at level {self.judge.level:g}, too little below "
            f"a share of {self.judge.least_share:.2f}, damaged from {self.judge.damage:.1f} x the residual; from "
            f"{self.pictures} pictures"
        )


def calibrated_search(backbone: Backbone) -> HSDS | None:
    """The search that was calibrated for a model; None where none was."""
    found = calibration_of(backbone).get(SETTINGS, {}).get(EIM.name)
    return None if found is None else EIM.from_dict(found).search
