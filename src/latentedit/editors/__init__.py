"""Manipulate, the third step of EIM, and every rival: one contract, `eim`, and a file for each idea in `baselines`.

`edit_latent` is in `latentedit`.
"""

from typing import TYPE_CHECKING

from latentedit.core.names import exports

if TYPE_CHECKING:
    from latentedit.editors.base import Editor as Editor
    from latentedit.editors.base import StrengthResult as StrengthResult
    from latentedit.editors.base import editor_class as editor_class
    from latentedit.editors.base import editor_of as editor_of
    from latentedit.editors.base import make_editor as make_editor
    from latentedit.editors.base import resolve as resolve
    from latentedit.editors.baselines.aligned_returns import SEGA as SEGA
    from latentedit.editors.baselines.aligned_returns import AsymmetricEdit as AsymmetricEdit
    from latentedit.editors.baselines.aligned_returns import FreeSliders as FreeSliders
    from latentedit.editors.baselines.attention_sharing import FireFlow as FireFlow
    from latentedit.editors.baselines.attention_sharing import MasaCtrl as MasaCtrl
    from latentedit.editors.baselines.attention_sharing import RFSolver as RFSolver
    from latentedit.editors.baselines.attention_sharing import StableFlow as StableFlow
    from latentedit.editors.baselines.flow_paths import DVRF as DVRF
    from latentedit.editors.baselines.flow_paths import FlowAlign as FlowAlign
    from latentedit.editors.baselines.flow_paths import FlowEdit as FlowEdit
    from latentedit.editors.baselines.flow_paths import FlowSlider as FlowSlider
    from latentedit.editors.baselines.flow_paths import SteeringFields as SteeringFields
    from latentedit.editors.baselines.inversions import AlignedInversion as AlignedInversion
    from latentedit.editors.baselines.inversions import DNAEdit as DNAEdit
    from latentedit.editors.baselines.inversions import Inversion as Inversion
    from latentedit.editors.baselines.inversions import RFInversion as RFInversion
    from latentedit.editors.baselines.inversions import UniEdit as UniEdit
    from latentedit.editors.baselines.masks import DiffEdit as DiffEdit
    from latentedit.editors.baselines.masks import SAMFlow as SAMFlow
    from latentedit.editors.baselines.noise_maps import LEDITS as LEDITS
    from latentedit.editors.baselines.noise_maps import EditFriendlyDDPM as EditFriendlyDDPM
    from latentedit.editors.baselines.noise_maps import TurboEdit as TurboEdit
    from latentedit.editors.baselines.sampling import SDEdit as SDEdit
    from latentedit.editors.baselines.sampling import TextSteering as TextSteering
    from latentedit.editors.baselines.sampling import VelocitySteering as VelocitySteering
    from latentedit.editors.baselines.sampling import VeloEdit as VeloEdit
    from latentedit.editors.baselines.score_distillation import DDS as DDS
    from latentedit.editors.baselines.score_distillation import SDS as SDS
    from latentedit.editors.baselines.score_distillation import ChordEdit as ChordEdit
    from latentedit.editors.baselines.splitflow import SplitFlow as SplitFlow
    from latentedit.editors.baselines.subspaces import LOCO as LOCO
    from latentedit.editors.baselines.subspaces import Pullback as Pullback
    from latentedit.editors.edit import Edit as Edit
    from latentedit.editors.edit import Latents as Latents
    from latentedit.editors.eim import EIM as EIM
    from latentedit.editors.judge import Verdict as Verdict
    from latentedit.editors.moving import Aim as Aim
    from latentedit.editors.moving import Move as Move
    from latentedit.editors.refinement import Refinement as Refinement

__getattr__, __dir__, __all__ = exports(__name__)
