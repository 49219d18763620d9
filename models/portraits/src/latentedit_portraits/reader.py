"""The attribute classifier of portraits, used as captioner and for measures."""

from latentedit import Backbone
from latentedit.encoding import Change
from latentedit_portraits.attributes import Attributes
from latentedit_portraits.captions import GRAMMAR
from latentedit_portraits.classifiers import AttributeClassifier
from latentedit_portraits.rewriting import rewrite, stated


class PortraitReader(AttributeClassifier):
    """Classifies the attributes of portraits of 128 x 128 pixels and writes the canonical caption."""

    scene = Attributes
    grammar = GRAMMAR
    model = "portraits"

    def stated(self, caption: str) -> dict[str, str]:
        return stated(caption)

    def change(self, caption: str, change: Change) -> str:
        return rewrite(caption, change)


def reader_for(backbone: Backbone) -> PortraitReader:
    """The entry point ``portraits`` of ``latentedit.captioners``: the classifier of the bundled model, on the CPU."""
    del backbone
    return PortraitReader.bundled()
