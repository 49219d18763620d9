"""Edits: the editors, what one is written with, images and captions as latents, and directions from texts.

Belongs here: what lies between an image with its captions and an edited latent. The verbs that edit image files are in
`latentedit`, and so are `JointLatent`, `encode`, `Direction`, `HSDS` and `edit_latent`.
"""

from typing import TYPE_CHECKING

from latentedit_keep.base.names import exports

if TYPE_CHECKING:
    from latentedit.core.recipe import Recipe as Recipe
    from latentedit.editing.outputs import read_record as read_record
    from latentedit.editing.outputs import same_image as same_image
    from latentedit.editing.request import EditRequest as EditRequest
    from latentedit.editing.result import Effect as Effect
    from latentedit.editing.sheet import draw_grid as draw_grid
    from latentedit.editing.undo import undo_direction as undo_direction
    from latentedit.editing.verbs import edit_images as edit_images
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
    from latentedit.encoding.captions.base import AttributeReader as AttributeReader
    from latentedit.encoding.captions.base import Captioner as Captioner
    from latentedit.encoding.captions.base import PromptedCaptioner as PromptedCaptioner
    from latentedit.encoding.captions.base import make_captioner as make_captioner
    from latentedit.encoding.captions.base import to_images as to_images
    from latentedit.encoding.captions.change import Change as Change
    from latentedit.encoding.captions.change import Phrase as Phrase
    from latentedit.encoding.captions.change import changed_phrases as changed_phrases
    from latentedit.encoding.captions.change import phrase_key as phrase_key
    from latentedit.encoding.captions.change import read_phrases as read_phrases
    from latentedit.encoding.captions.completion import Completion as Completion
    from latentedit.encoding.captions.completion import complete_phrases as complete_phrases
    from latentedit.encoding.encode import ImageLike as ImageLike
    from latentedit.encoding.encode import Model as Model
    from latentedit.encoding.encode import captioner_for as captioner_for
    from latentedit.encoding.encode import complete_captions as complete_captions
    from latentedit.encoding.encode import embed_targets as embed_targets
    from latentedit.encoding.encode import encode_frames as encode_frames
    from latentedit.encoding.encode import fit_all as fit_all
    from latentedit.encoding.encode import fitted as fitted
    from latentedit.encoding.encode import text_direction as text_direction
    from latentedit.encoding.images import Box as Box
    from latentedit.encoding.images import Frame as Frame
    from latentedit.encoding.images import Framer as Framer
    from latentedit.encoding.images import SourceImage as SourceImage
    from latentedit.encoding.images import cut as cut
    from latentedit.encoding.joint import Familiarity as Familiarity
    from latentedit.encoding.no_change import NO_CHANGE_WORDINGS as NO_CHANGE_WORDINGS
    from latentedit.encoding.record import RunRecord as RunRecord
    from latentedit.identification.composition import compose as compose
    from latentedit.identification.composition import cross_talk as cross_talk
    from latentedit.identification.composition import transferred as transferred
    from latentedit.identification.description import describe as describe
    from latentedit.identification.direction import EffectCalibration as EffectCalibration
    from latentedit.identification.direction import clean_share as clean_share
    from latentedit.identification.hsds import find_direction as find_direction
    from latentedit.identification.locality import change_share as change_share
    from latentedit.identification.locality import composed_change as composed_change
    from latentedit.identification.locality import dropped_residual as dropped_residual
    from latentedit.identification.locality import local_change as local_change

__getattr__, __dir__, __all__ = exports(__name__)
