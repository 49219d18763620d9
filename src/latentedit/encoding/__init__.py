"""Encode, the first step of EIM: an image and a text that describes it become one point of the joint latent space.

Captions, frames, inversion and how well a model knows an image belong here. `encode` and `JointLatent` are in
`latentedit`.
"""

from typing import TYPE_CHECKING

from latentedit.core.names import exports

if TYPE_CHECKING:
    from latentedit.encoding.captions.base import AttributeReader as AttributeReader
    from latentedit.encoding.captions.base import Captioner as Captioner
    from latentedit.encoding.captions.base import PromptedCaptioner as PromptedCaptioner
    from latentedit.encoding.captions.base import make_captioner as make_captioner
    from latentedit.encoding.captions.base import to_images as to_images
    from latentedit.encoding.captions.change import Caption as Caption
    from latentedit.encoding.captions.change import Change as Change
    from latentedit.encoding.captions.change import Phrase as Phrase
    from latentedit.encoding.captions.change import changed_phrases as changed_phrases
    from latentedit.encoding.captions.change import phrase_key as phrase_key
    from latentedit.encoding.captions.completion import Completion as Completion
    from latentedit.encoding.captions.completion import complete_phrases as complete_phrases
    from latentedit.encoding.encode import ImageLike as ImageLike
    from latentedit.encoding.encode import captioner_for as captioner_for
    from latentedit.encoding.encode import complete_captions as complete_captions
    from latentedit.encoding.encode import embed_targets as embed_targets
    from latentedit.encoding.encode import encode_frames as encode_frames
    from latentedit.encoding.encode import fit_all as fit_all
    from latentedit.encoding.encode import fitted as fitted
    from latentedit.encoding.encode import text_direction as text_direction
    from latentedit.encoding.familiarity import Guard as Guard
    from latentedit.encoding.familiarity import check_familiarity as check_familiarity
    from latentedit.encoding.images import Box as Box
    from latentedit.encoding.images import Frame as Frame
    from latentedit.encoding.images import Framer as Framer
    from latentedit.encoding.images import SourceImage as SourceImage
    from latentedit.encoding.images import cut as cut
    from latentedit.encoding.inversion import InversionTrace as InversionTrace
    from latentedit.encoding.inversion import invert as invert
    from latentedit.encoding.inversion import retrace as retrace
    from latentedit.encoding.joint import Familiarity as Familiarity
    from latentedit.encoding.no_change import NO_CHANGE_WORDINGS as NO_CHANGE_WORDINGS
    from latentedit.encoding.record import RunRecord as RunRecord

__getattr__, __dir__, __all__ = exports(__name__)
