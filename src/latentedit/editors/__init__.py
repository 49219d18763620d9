"""Ways to move latents towards a text: ours, the methods of other papers, and what they share."""

from typing import TYPE_CHECKING

from latentedit.core.lazy import exports

if TYPE_CHECKING:
    from latentedit.editors.base import Editor as Editor
    from latentedit.editors.base import StrengthResult as StrengthResult
    from latentedit.editors.baselines.asymmetric import AsymmetricEdit as AsymmetricEdit
    from latentedit.editors.baselines.chordedit import ChordEdit as ChordEdit
    from latentedit.editors.baselines.dds import DDS as DDS
    from latentedit.editors.baselines.diffedit import DiffEdit as DiffEdit
    from latentedit.editors.baselines.dnaedit import DNAEdit as DNAEdit
    from latentedit.editors.baselines.dvrf import DVRF as DVRF
    from latentedit.editors.baselines.edit_friendly_ddpm import EditFriendlyDDPM as EditFriendlyDDPM
    from latentedit.editors.baselines.fireflow import FireFlow as FireFlow
    from latentedit.editors.baselines.flowalign import FlowAlign as FlowAlign
    from latentedit.editors.baselines.flowedit import FlowEdit as FlowEdit
    from latentedit.editors.baselines.flowslider import FlowSlider as FlowSlider
    from latentedit.editors.baselines.freesliders import FreeSliders as FreeSliders
    from latentedit.editors.baselines.inversion import AlignedInversion as AlignedInversion
    from latentedit.editors.baselines.inversion import Inversion as Inversion
    from latentedit.editors.baselines.ledits import LEDITS as LEDITS
    from latentedit.editors.baselines.loco import LOCO as LOCO
    from latentedit.editors.baselines.masactrl import MasaCtrl as MasaCtrl
    from latentedit.editors.baselines.pullback import Pullback as Pullback
    from latentedit.editors.baselines.rf_inversion import RFInversion as RFInversion
    from latentedit.editors.baselines.rf_solver import RFSolver as RFSolver
    from latentedit.editors.baselines.sdedit import SDEdit as SDEdit
    from latentedit.editors.baselines.sds import SDS as SDS
    from latentedit.editors.baselines.sega import SEGA as SEGA
    from latentedit.editors.baselines.splitflow import SplitFlow as SplitFlow
    from latentedit.editors.baselines.stable_flow import StableFlow as StableFlow
    from latentedit.editors.baselines.steering_fields import SteeringFields as SteeringFields
    from latentedit.editors.baselines.text_steering import TextSteering as TextSteering
    from latentedit.editors.baselines.turboedit import TurboEdit as TurboEdit
    from latentedit.editors.baselines.uniedit import UniEdit as UniEdit
    from latentedit.editors.baselines.velocity_steering import VelocitySteering as VelocitySteering
    from latentedit.editors.baselines.veloedit import VeloEdit as VeloEdit
    from latentedit.editors.eim import EIM as EIM
    from latentedit.editors.judge import Judge as Judge
    from latentedit.editors.judge import Verdict as Verdict
    from latentedit.editors.registry import editor_class as editor_class
    from latentedit.editors.registry import make_editor as make_editor
    from latentedit.editors.slider import Slider as Slider
    from latentedit.editors.strength import EffectCurve as EffectCurve

__getattr__, __dir__, __all__ = exports(__name__)
