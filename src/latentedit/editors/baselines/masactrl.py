"""MasaCtrl: the way down asks the picture's own path what it looks like, from some step and layer on."""

from collections.abc import Sequence
from typing import ClassVar

from latentedit.core.settings import Share, settings
from latentedit.editors.baselines.mutual_attention import MutualAttention, layers_from
from latentedit.models.base import Backbone


@settings
class MasaCtrl(MutualAttention):
    """Mutual self-attention: the edit's queries meet keys and values of the picture, ``softmax(Q K0^T) V0``.

    Where attention is joint, the text's keys and values stand beside them and are those of the edit.

    Args:
        start: share of the steps that go by before, in which the layout is formed.
        first_layer: where in the network it begins, as a share of its attention layers.

    Source:
        Cao et al. 2023, arXiv 2304.08465, eq. 3, with step 4 of 50 and layer 10 of 16. As its code offers, the picture
        passes through the states of the inversion; the paper's other way lets the picture walk down by itself, under
        the empty text, from where the inversion ended.
    """

    name: ClassVar[str] = "masactrl"

    start: Share = 0.08
    first_layer: Share = 0.625

    def _layers(self, backbone: Backbone) -> Sequence[str]:
        return layers_from(backbone, self.first_layer)

    def _first(self, steps: int) -> int:
        return round(self.start * steps)
