"""Margins of constructed readings, the control's captions, and what eight items say."""

from typing import Any

import pandas as pd
import pytest

from latentedit.directions.text import changed_phrases
from latentedit_bench.data.counterfactual import Rendered
from latentedit_bench.domains.base import domain
from latentedit_bench.experiments.known_items import CAPTIONS, asking
from latentedit_bench.experiments.single_attribute import OTHER, OURS, SingleAttribute, asking_another, margin
from tests.bench.experiments.rendered_bench import rows


def read(ours: dict[str, float], truth: dict[str, float], **more: Any) -> dict[str, float]:
    """Columns of changes and of those of the right answer."""
    return {f"tv {n}": v for n, v in ours.items()} | {f"true tv {n}": v for n, v in truth.items()} | more


def test_the_margin_is_over_the_worst_other() -> None:
    ours = ((0.9, 0.1, 0.3), (0.9, 0.6, 0.2), (0.1, 0.0, 0.7))
    truth = ((1.0, 0.0, 0.0), (1.0, 1.0, 0.0), (0.2, 0.0, 0.1))
    names = ("hair", "hair_color", "skin")
    pairs = [[dict(zip(names, one, strict=True)) for one in pair] for pair in zip(ours, truth, strict=True)]
    assert list(margin(pd.DataFrame([read(*pair) for pair in pairs]))) == pytest.approx([0.6, 0.4, -0.6])


@pytest.mark.parametrize(
    ("other", "verdict"),
    [((0.1, 0.9), "holds"), ((0.9, 0.1), "undecided at this size"), ((1.0, 0.0), "does not hold")],
)
def test_a_control_that_changes_the_same_leaves_nothing(other: tuple[float, float], verdict: str) -> None:
    """Ours changes what is asked for by .9 and another attribute by .1; the control's pair decides the difference."""
    whole, tables = {"skin": 1.0, "hair": 0.0}, list[dict[str, Any]]()
    for captions in CAPTIONS:
        for name, pair in ((OURS, (0.9, 0.1)), (OTHER, other)):
            columns = read(dict(zip(whole, pair, strict=True)), whole, done=1.0, others_changed=0.0, captions=captions)
            tables += rows({name: [0.0] * 8}, **columns)
    found = SingleAttribute().conclude(pd.DataFrame(tables))
    assert found.claims[0].estimate == pytest.approx(0.8 - (other[0] - other[1]))
    assert found.claims[0].verdict == verdict
    assert found.claims[0].measure.endswith("partial captions")
    assert found.claims[1].estimate == pytest.approx(0.8)
    cells = found.summary[found.summary["part"] == "changes"].set_index("attribute")["mean"]
    assert cells["hair"] == pytest.approx(0.1)


@pytest.mark.nightly
@pytest.mark.parametrize("captions", CAPTIONS)
def test_the_control_asks_for_another_attribute_that_the_caption_names(captions: str) -> None:
    """The same pictures and answers; one phrase of the caption differs, and it says another attribute's new value."""
    data, world = asking("test", 24, ("single",), captions=captions), domain("portraits")
    found = asking_another(data, 3)
    assert len(found.items) >= 0.9 * len(data.items)
    by_id = {item.id: item for item in data.items}
    for item in found.items:
        same = by_id[item.id]
        assert (item.source_caption, item.picture, item.truth) == (same.source_caption, same.picture, same.truth)
        (old,), (new,) = changed_phrases(item.source_caption, item.target_caption)
        assert isinstance(item.picture, Rendered)
        said = list(world.phrases(item.picture.scene))
        asked = {one for pair in changed_phrases(same.source_caption, same.target_caption) for one in pair}
        assert old in said
        assert not asked & {old, new}
    assert asking_another(data, 3).fingerprint == found.fingerprint != data.fingerprint
