"""Margins of constructed readings, and the control's captions."""

import pandas as pd
import pytest

from latentedit.directions.text import changed_phrases
from latentedit_bench.data.counterfactual import Rendered
from latentedit_bench.domains.base import domain
from latentedit_bench.experiments.items import CAPTIONS, Edits, asking
from latentedit_bench.experiments.single_attribute import margins
from latentedit_bench.experiments.texts import asking_another

NAMES = ("hair", "hair_color", "skin")


def test_the_margin_is_over_the_worst_other() -> None:
    changed = ((0.9, 0.1, 0.3), (0.9, 0.6, 0.2), (0.1, 0.0, 0.7))
    truth = ((1.0, 0.0, 0.0), (1.0, 1.0, 0.0), (0.2, 0.0, 0.1))
    columns = [f"tv {name}" for name in NAMES] + [f"true tv {name}" for name in NAMES]
    table = pd.DataFrame([(*one, *other) for one, other in zip(changed, truth, strict=True)], columns=columns)
    assert list(margins(table)["margin"]) == pytest.approx([0.6, 0.4, -0.6])


@pytest.mark.slow
@pytest.mark.parametrize("captions", CAPTIONS)
def test_the_control_asks_for_another_attribute_that_the_caption_names(captions: str) -> None:
    """The same pictures and answers; one phrase of the caption differs, and it says another attribute's new value."""
    data, world = asking(Edits(kinds=("single",)), captions, first=24), domain("portraits")
    assert {item.kind for item in data.items} == {"single"}
    found = asking_another(data, 3)
    assert len(found.items) >= 0.9 * len(data.items)
    by_id = {item.id: item for item in data.items}
    for item in found.items:
        same = by_id[item.id]
        assert (item.source_caption, item.picture, item.truth) == (same.source_caption, same.picture, same.truth)
        (old,), (new,) = changed_phrases(item.source_caption, item.target_caption)
        assert isinstance(item.picture, Rendered)
        asked = {one for pair in changed_phrases(same.source_caption, same.target_caption) for one in pair}
        assert old in list(world.phrases(item.picture.scene))
        assert not asked & {old, new}
    assert asking_another(data, 3).fingerprint == found.fingerprint != data.fingerprint
