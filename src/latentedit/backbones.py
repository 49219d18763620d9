"""Models: the contract's parts, flow coordinates, what an adapter of a family derives from, and the folders of models.

Belongs here: what a model family, a model's folder or its training needs. `Backbone`, `Condition`, `load` and
`from_pipeline` are in `latentedit`; the contract that tests a family in `latentedit.testing.contracts.backbone`.
"""

from typing import TYPE_CHECKING

from latentedit_keep.base.names import exports

if TYPE_CHECKING:
    from latentedit.calibration.drawing import draw_images as draw_images
    from latentedit.calibration.drawing import verify_drawings as verify_drawings
    from latentedit.calibration.drawing import write_reference as write_reference
    from latentedit.calibration.guard import CalibratedSettings as CalibratedSettings
    from latentedit.calibration.guard import GuardCalibration as GuardCalibration
    from latentedit.calibration.guard import calibrate_guard as calibrate_guard
    from latentedit.calibration.guard import calibrate_no_change as calibrate_no_change
    from latentedit.calibration.guard import keep_calibration as keep_calibration
    from latentedit.calibration.settings_search import Search as Search
    from latentedit.calibration.settings_search import calibrate_settings as calibrate_settings
    from latentedit.encoding.familiarity import Guard as Guard
    from latentedit.encoding.familiarity import check_familiarity as check_familiarity
    from latentedit.models.attention import differentiable_attention as differentiable_attention
    from latentedit.models.base import Capabilities as Capabilities
    from latentedit.models.base import GuidanceKind as GuidanceKind
    from latentedit.models.codec import PATCH_SIDE as PATCH_SIDE
    from latentedit.models.codec import pack as pack
    from latentedit.models.codec import unpack as unpack
    from latentedit.models.families.flux import FluxBackbone as FluxBackbone
    from latentedit.models.families.sd3 import StableDiffusion3Backbone as StableDiffusion3Backbone
    from latentedit.models.families.unet import DDPMBackbone as DDPMBackbone
    from latentedit.models.families.unet import TextUNetBackbone as TextUNetBackbone
    from latentedit.models.flow import FlowBackbone as FlowBackbone
    from latentedit.models.flow import PackedFlowBackbone as PackedFlowBackbone
    from latentedit.models.flow import flow_scheduler as flow_scheduler
    from latentedit.models.flow import positions as positions
    from latentedit.models.libraries import quiet_libraries as quiet_libraries
    from latentedit.models.model_settings import change_json as change_json
    from latentedit.models.model_settings import read_settings as read_settings
    from latentedit.models.model_settings import write_settings as write_settings
    from latentedit.models.prompts import EncodedPrompt as EncodedPrompt
    from latentedit.models.prompts import PromptBackbone as PromptBackbone
    from latentedit.models.prompts import tokens_before as tokens_before
    from latentedit.models.registry import ModelLike as ModelLike
    from latentedit.models.registry import bundled_folder as bundled_folder
    from latentedit.models.registry import bundled_names as bundled_names
    from latentedit.models.sites import Blocks as Blocks
    from latentedit.models.sites import Site as Site
    from latentedit.models.vp import VPBackbone as VPBackbone
    from latentedit.models.vp import VPSchedule as VPSchedule
    from latentedit.numerics.flow import LevelGrid as LevelGrid
    from latentedit.numerics.flow import alpha_sigma_from_level as alpha_sigma_from_level
    from latentedit.numerics.flow import clean_estimate as clean_estimate
    from latentedit.numerics.flow import level_batch as level_batch
    from latentedit.numerics.flow import model_from_canonical as model_from_canonical
    from latentedit.numerics.flow import noise_estimate as noise_estimate
    from latentedit.numerics.flow import per_element as per_element
    from latentedit.numerics.flow import shifted_grid as shifted_grid
    from latentedit.numerics.flow import uniform_grid as uniform_grid
    from latentedit.numerics.flow import velocity_from_prediction as velocity_from_prediction
    from latentedit.numerics.schedule import DiscreteSchedule as DiscreteSchedule
    from latentedit.numerics.schedule import scaled_linear_schedule as scaled_linear_schedule
    from latentedit.numerics.schedule import schedule_from_betas as schedule_from_betas

__getattr__, __dir__, __all__ = exports(__name__)
