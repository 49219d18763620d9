"""Models: the contract's parts, what an adapter of a family derives from, derivatives and guidance, folders of models.

`Backbone`, `CallableBackbone`, `load` and `from_pipeline` are in `latentedit`; the contract that tests a family is in
`latentedit.testing`.
"""

from typing import TYPE_CHECKING

from latentedit.core.names import exports

if TYPE_CHECKING:
    from latentedit.models.attention import differentiable_attention as differentiable_attention
    from latentedit.models.capabilities import Capabilities as Capabilities
    from latentedit.models.capabilities import GuidanceKind as GuidanceKind
    from latentedit.models.codec import PATCH_SIDE as PATCH_SIDE
    from latentedit.models.codec import pack as pack
    from latentedit.models.codec import unpack as unpack
    from latentedit.models.derivatives import FeatureJacobian as FeatureJacobian
    from latentedit.models.derivatives import FeatureMap as FeatureMap
    from latentedit.models.derivatives import Pooling as Pooling
    from latentedit.models.derivatives import VelocityJacobian as VelocityJacobian
    from latentedit.models.derivatives import curvature as curvature
    from latentedit.models.derivatives import denoiser_jacobian as denoiser_jacobian
    from latentedit.models.families.flux import FluxBackbone as FluxBackbone
    from latentedit.models.families.sd3 import StableDiffusion3Backbone as StableDiffusion3Backbone
    from latentedit.models.families.unet import DDPMBackbone as DDPMBackbone
    from latentedit.models.families.unet import TextUNetBackbone as TextUNetBackbone
    from latentedit.models.flow import FlowBackbone as FlowBackbone
    from latentedit.models.flow import PackedFlowBackbone as PackedFlowBackbone
    from latentedit.models.flow import flow_scheduler as flow_scheduler
    from latentedit.models.flow import positions as positions
    from latentedit.models.guidance import GuidedField as GuidedField
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

__getattr__, __dir__, __all__ = exports(__name__)
