"""Rows of the comparison on a network whose edits and responses have one color, and the attributes that it draws."""

import pytest

from latentedit_bench.domains.base import load_domain
from latentedit_bench.experiments.disentanglement_without_truth import disentanglement_without_truth, other_captions
from latentedit_portraits.captions import parse
from research.tests.bench.rendered_network import prepared, some_items


def test_other_attributes_are_drawn_that_do_not_depend_on_the_edited_one() -> None:
    domain = load_domain("portraits")
    for item in [one for one in some_items() if one.kind == "single"]:
        captions = other_captions(item, 5)
        assert captions == other_captions(item, 5)
        own = parse(item.source_caption)
        changed = [{name for name, value in parse(one).items() if own.get(name) != value} for one in captions]
        part = domain.part_of.get(item.about["change"])
        assert all(found and not found & {item.about["change"], part} for found in changed)
        assert len({min(found) for found in changed}) == 5, "each caption is about another attribute"


def test_every_edit_of_an_item_is_scored_in_both_ways() -> None:
    """All that the network draws of a text is its color, so no edit has a part of another kind."""
    batch = prepared(2)
    rows = list(disentanglement_without_truth.function(batch, seed=1, levels=(0.5,), attributes=3))
    edits = [(row["edit"], row["at"]) for index, row in rows if index == 1]
    arms = [(name, 0.5) for name in ("text", "image", "joint", "sdedit")]
    assert edits == [("direct", at) for at in (0.5, 1.0, 1.5)] + arms + [("flowedit", 1.0), ("flowedit", 2.0)]
    assert len(rows) == 2 * len(edits)
    found = {(row["edit"], row["at"]): row for index, row in rows if index == 0}
    for edit in ("text", "joint", "direct"):
        # float32, of a difference of pixels by about a hundredth
        assert found[edit, 1.0 if edit == "direct" else 0.5]["responses decomposability"] == pytest.approx(1, abs=1e-3)
    sizes = [found["direct", at]["size"] for at in (0.5, 1.0, 1.5)]
    assert sizes == pytest.approx([0.5 * sizes[1], sizes[1], 1.5 * sizes[1]], rel=1e-3)
    assert all(row["domain"] == "portraits" and 0 <= row["truth"] <= 1 for row in found.values())
