"""The attribute classifier of portraits: for captions and for measuring."""

from collections.abc import Mapping

from latentedit.latents.captions.change import Change
from latentedit.models.base import Backbone
from latentedit_portraits.attributes import Attributes, draw_split
from latentedit_portraits.captions import full_caption
from latentedit_portraits.rewriting import rewrite, stated
from latentedit_portraits.worlds import AttributeClassifier

_EXAMPLES = 22  # seed of the captions that are given as examples


class PortraitReader(AttributeClassifier):
    """Reads the attributes of portraits of 128 x 128 pixels, and says them in the grammar's canonical caption."""

    scene = Attributes
    model = "portraits"

    def say(self, scene: Attributes) -> str:
        """The canonical caption, which names every attribute."""
        return full_caption(scene)

    def stated(self, caption: str) -> Mapping[str, str]:
        """The attributes and values that a caption states."""
        return stated(caption)

    def examples(self, count: int) -> list[str]:
        """Full captions of portraits that neither training nor tests have seen."""
        return [full_caption(item) for item in draw_split("calibration", count, _EXAMPLES)]

    def change(self, caption: str, change: Change) -> str:
        """The caption with a change made by the grammar: see `rewrite`."""
        return rewrite(caption, change)


def reader_for(backbone: Backbone) -> PortraitReader:
    """The entry point ``portraits`` of ``latentedit.captioners``: the reader that lies beside the bundled model.

    It is on the CPU wherever the model is; its images may come from any device.
    """
    del backbone
    return PortraitReader.bundled()
