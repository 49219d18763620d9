"""The attribute classifier of scenes, used as captioner and for measures."""

from latentedit import Backbone
from latentedit.encoding import Change
from latentedit_portraits.classifiers import AttributeClassifier
from latentedit_scenes.attributes import Attributes
from latentedit_scenes.captions import GRAMMAR
from latentedit_scenes.rewriting import rewrite


class SceneReader(AttributeClassifier):
    """Classifies the attributes of scenes of 128 x 128 pixels and writes the canonical caption."""

    scene = Attributes
    grammar = GRAMMAR
    model = "scenes"

    def change(self, caption: str, change: Change) -> str:
        return rewrite(caption, change)


def reader_for(backbone: Backbone) -> SceneReader:
    """The entry point ``scenes`` of ``latentedit.captioners``: the classifier of the bundled model."""
    del backbone
    return SceneReader.bundled()
