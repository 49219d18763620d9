"""The attribute reader of scenes, built and trained as that of portraits: for captions and for measuring."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from latentedit.core.rng import seeded
from latentedit.latents.captions.change import Change
from latentedit.models.base import Backbone
from latentedit_portraits.reader import NetworkReader, ReaderNetwork
from latentedit_scenes.attributes import PARTS, VALUES, Attributes, draw_split
from latentedit_scenes.captions import full_caption
from latentedit_scenes.rewriting import rewrite

_EXAMPLES = 22  # seed of the captions that are given as examples


class SceneReaderNetwork(ReaderNetwork):
    """Logits of every value of every attribute, in the order of ``VALUES``."""

    values: ClassVar[Mapping[str, Sequence[str]]] = VALUES
    outputs = sum(len(values) for values in VALUES.values())


class SceneReader(NetworkReader):
    """Reads the attributes of scenes of 128 x 128 pixels, and says them in the grammar's canonical caption."""

    values = VALUES
    architecture = SceneReaderNetwork
    model = "scenes"

    def attributes(self, pixels: Float[Tensor, "b 3 h w"]) -> list[Attributes]:
        """The most likely attributes of each picture; pixels in [-1, 1]."""
        return [Attributes.from_indices(row) for row in self.indices(pixels)]

    def full_caption(self, scene: Attributes) -> str:
        """The canonical caption."""
        return full_caption(scene)

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


def build_reader(seed: int) -> SceneReaderNetwork:
    """The untrained network."""
    with seeded(seed):
        return SceneReaderNetwork()


def agreement(found: Sequence[Attributes], wanted: Sequence[Attributes]) -> dict[str, float]:
    """How well pictures show what was wanted, as a reader sees them: shares in [0, 1].

    Returns:
        Of each attribute the share of pictures in which it is right; and, apart,

        - "counting": pictures with the right number of objects.
        - "places": pictures with objects at the right places.
        - "binding": of the objects of pictures that should have several, those with all their own parts at their place.
    """
    pairs = list(zip(found, wanted, strict=True))
    shares = {name: _share([getattr(a, name) == getattr(b, name) for a, b in pairs]) for name in VALUES}
    bound = [
        all(a.object_at(place)[part] == b.object_at(place)[part] for part in PARTS)
        for a, b in pairs
        if len(b.places()) > 1
        for place in b.places()
    ]
    return shares | {
        "counting": _share([len(a.places()) == len(b.places()) for a, b in pairs]),
        "places": _share([a.places() == b.places() for a, b in pairs]),
        "binding": _share(bound),
    }


def _share(right: Sequence[bool]) -> float:
    return sum(right) / len(right) if right else float("nan")
