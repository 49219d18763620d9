"""Ways to move latents towards a text: ours, the methods of other papers, and what they share."""

from typing import TYPE_CHECKING

from latentedit.core.lazy import exports

if TYPE_CHECKING:
    from latentedit.editors.base import Editor, StrengthResult
    from latentedit.editors.baselines.asymmetric import AsymmetricEdit
    from latentedit.editors.baselines.dds import DDS
    from latentedit.editors.baselines.diffedit import DiffEdit
    from latentedit.editors.baselines.dnaedit import DNAEdit
    from latentedit.editors.baselines.edit_friendly_ddpm import EditFriendlyDDPM
    from latentedit.editors.baselines.fireflow import FireFlow
    from latentedit.editors.baselines.flowalign import FlowAlign
    from latentedit.editors.baselines.flowedit import FlowEdit
    from latentedit.editors.baselines.flowslider import FlowSlider
    from latentedit.editors.baselines.inversion import AlignedInversion, Inversion
    from latentedit.editors.baselines.ledits import LEDITS
    from latentedit.editors.baselines.loco import LOCO
    from latentedit.editors.baselines.pullback import Pullback
    from latentedit.editors.baselines.rf_inversion import RFInversion
    from latentedit.editors.baselines.rf_solver import RFSolver
    from latentedit.editors.baselines.sdedit import SDEdit
    from latentedit.editors.baselines.sds import SDS
    from latentedit.editors.baselines.sega import SEGA
    from latentedit.editors.baselines.steering_fields import SteeringFields
    from latentedit.editors.baselines.text_steering import TextSteering
    from latentedit.editors.baselines.turboedit import TurboEdit
    from latentedit.editors.baselines.uniedit import UniEdit
    from latentedit.editors.eim import EIM
    from latentedit.editors.judge import Judge, Verdict
    from latentedit.editors.registry import editor_class, make_editor
    from latentedit.editors.slider import Slider
    from latentedit.editors.strength import EffectCurve

__all__ = [
    "DDS",
    "EIM",
    "LEDITS",
    "LOCO",
    "SDS",
    "SEGA",
    "AlignedInversion",
    "AsymmetricEdit",
    "DNAEdit",
    "DiffEdit",
    "EditFriendlyDDPM",
    "Editor",
    "EffectCurve",
    "FireFlow",
    "FlowAlign",
    "FlowEdit",
    "FlowSlider",
    "Inversion",
    "Judge",
    "Pullback",
    "RFInversion",
    "RFSolver",
    "SDEdit",
    "Slider",
    "SteeringFields",
    "StrengthResult",
    "TextSteering",
    "TurboEdit",
    "UniEdit",
    "Verdict",
    "editor_class",
    "make_editor",
]

__getattr__, __dir__ = exports(
    __name__,
    {
        "AlignedInversion": "latentedit.editors.baselines.inversion",
        "AsymmetricEdit": "latentedit.editors.baselines.asymmetric",
        "DDS": "latentedit.editors.baselines.dds",
        "DNAEdit": "latentedit.editors.baselines.dnaedit",
        "DiffEdit": "latentedit.editors.baselines.diffedit",
        "EIM": "latentedit.editors.eim",
        "EditFriendlyDDPM": "latentedit.editors.baselines.edit_friendly_ddpm",
        "Editor": "latentedit.editors.base",
        "EffectCurve": "latentedit.editors.strength",
        "FireFlow": "latentedit.editors.baselines.fireflow",
        "FlowAlign": "latentedit.editors.baselines.flowalign",
        "FlowEdit": "latentedit.editors.baselines.flowedit",
        "FlowSlider": "latentedit.editors.baselines.flowslider",
        "Inversion": "latentedit.editors.baselines.inversion",
        "Judge": "latentedit.editors.judge",
        "LEDITS": "latentedit.editors.baselines.ledits",
        "LOCO": "latentedit.editors.baselines.loco",
        "Pullback": "latentedit.editors.baselines.pullback",
        "RFInversion": "latentedit.editors.baselines.rf_inversion",
        "RFSolver": "latentedit.editors.baselines.rf_solver",
        "SDEdit": "latentedit.editors.baselines.sdedit",
        "SDS": "latentedit.editors.baselines.sds",
        "SEGA": "latentedit.editors.baselines.sega",
        "Slider": "latentedit.editors.slider",
        "SteeringFields": "latentedit.editors.baselines.steering_fields",
        "StrengthResult": "latentedit.editors.base",
        "TextSteering": "latentedit.editors.baselines.text_steering",
        "TurboEdit": "latentedit.editors.baselines.turboedit",
        "UniEdit": "latentedit.editors.baselines.uniedit",
        "Verdict": "latentedit.editors.judge",
        "editor_class": "latentedit.editors.registry",
        "make_editor": "latentedit.editors.registry",
    },
)
