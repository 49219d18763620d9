"""The attribute classifier of scenes: for captions and for measuring."""

from collections.abc import Mapping

from latentedit.latents.captions.change import Change
from latentedit.models.base import Backbone
from latentedit_portraits.worlds import AttributeClassifier
from latentedit_scenes.attributes import Attributes, draw_split
from latentedit_scenes.captions import full_caption, parse
from latentedit_scenes.rewriting import rewrite

_EXAMPLES = 22  # seed of the captions that are given as examples


class SceneReader(AttributeClassifier):
    """Reads the attributes of scenes of 128 x 128 pixels, and says them in the grammar's canonical caption."""

    scene = Attributes
    model = "scenes"

    def say(self, scene: Attributes) -> str:
        """The canonical caption, which names every attribute."""
        return full_caption(scene)

    def stated(self, caption: str) -> Mapping[str, str]:
        """The attributes and values that a caption states."""
        return parse(caption).attributes()

    def examples(self, count: int) -> list[str]:
        """Full captions of scenes that neither training nor tests have seen."""
        return [full_caption(item) for item in draw_split("calibration", count, _EXAMPLES)]

    def change(self, caption: str, change: Change) -> str:
        """The caption with a change made by the grammar: see `rewrite`."""
        return rewrite(caption, change)


def reader_for(backbone: Backbone) -> SceneReader:
    """The entry point ``scenes`` of ``latentedit.captioners``: the reader that lies beside the bundled model."""
    del backbone
    return SceneReader.bundled()
