"""The attribute classifier of scenes, used as captioner and for measures."""

from collections.abc import Mapping

from latentedit.latents.captions.change import Change
from latentedit.models.base import Backbone
from latentedit.testing.classifiers import AttributeClassifier
from latentedit_scenes.attributes import Attributes, draw_split
from latentedit_scenes.captions import full_caption, parse
from latentedit_scenes.rewriting import rewrite

_EXAMPLES = 22  # seed of the example captions


class SceneReader(AttributeClassifier):
    """Classifies the attributes of scenes of 128 x 128 pixels and writes the canonical caption."""

    scene = Attributes
    model = "scenes"

    def full_caption(self, scene: Attributes) -> str:
        return full_caption(scene)

    def stated(self, caption: str) -> Mapping[str, str]:
        return parse(caption).attributes()

    def examples(self, count: int) -> list[str]:
        # of a split that neither training nor tests use
        return [full_caption(item) for item in draw_split("calibration", count, _EXAMPLES)]

    def change(self, caption: str, change: Change) -> str:
        return rewrite(caption, change)


def reader_for(backbone: Backbone) -> SceneReader:
    """The entry point ``scenes`` of ``latentedit.captioners``: the classifier of the bundled model."""
    del backbone
    return SceneReader.bundled()
