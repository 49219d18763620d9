"""The attribute classifier of portraits, used as captioner and for measures."""

from collections.abc import Mapping

from latentedit.latents.captions.change import Change
from latentedit.models.base import Backbone
from latentedit.testing.classifiers import AttributeClassifier
from latentedit_portraits.attributes import Attributes, draw_split
from latentedit_portraits.captions import full_caption
from latentedit_portraits.rewriting import rewrite, stated

_EXAMPLES = 22  # seed of the example captions


class PortraitReader(AttributeClassifier):
    """Classifies the attributes of portraits of 128 x 128 pixels and writes the canonical caption."""

    scene = Attributes
    model = "portraits"

    def full_caption(self, scene: Attributes) -> str:
        return full_caption(scene)

    def stated(self, caption: str) -> Mapping[str, str]:
        return stated(caption)

    def examples(self, count: int) -> list[str]:
        # of a split that neither training nor tests use
        return [full_caption(item) for item in draw_split("calibration", count, _EXAMPLES)]

    def change(self, caption: str, change: Change) -> str:
        return rewrite(caption, change)


def reader_for(backbone: Backbone) -> PortraitReader:
    """The entry point ``portraits`` of ``latentedit.captioners``: the classifier of the bundled model, on the CPU."""
    del backbone
    return PortraitReader.bundled()
