"""Captions that change what they should, cosines and spreads in closed form, and a text whose differences are known."""

import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from latentedit.core.condition import Condition
from latentedit.core.rng import draw
from latentedit_bench.experiments import known_items
from latentedit_bench.experiments.base import Context
from latentedit_bench.experiments.plotting import new_figure
from latentedit_bench.experiments.text_directions import (
    POOLED,
    SUMMED,
    TOKENS,
    Differences,
    TextDirections,
    caption_pairs,
    changed_words,
    compare,
    differences,
    mean_cosines,
    spread,
    text_rows,
)
from latentedit_portraits.attributes import VALUES, draw_split
from latentedit_portraits.captions import parse
from latentedit_portraits.domain import PORTRAITS as DOMAIN
from tests.bench.rendered_network import RenderedNetwork

PORTRAITS = draw_split("test", 8, 0)


def test_captions_change_what_they_should() -> None:
    """Ours one attribute, from its first value to its second; random ones about as many words, or one more."""
    for number, portrait in enumerate(PORTRAITS[:3]):
        ours, null = caption_pairs(DOMAIN, portrait, random.Random(number))
        for name, (source, target), (same, other) in zip(VALUES, ours, null, strict=True):
            before, after = parse(source), parse(target)
            assert {key for key in before if before[key] != after.get(key)} == {name}
            assert (before[name], after[name]) == DOMAIN.plain_changes[name]
            assert same == source
            assert other != source
            assert 1 <= changed_words(DOMAIN, source, target) <= 2
            assert abs(changed_words(DOMAIN, source, target) - changed_words(DOMAIN, same, other)) <= 1


def test_cosines_in_closed_form() -> None:
    """Axes are at right angles; (1, 0), (1, 1), (0, -2) have |cosines| sqrt(1/2), 0, sqrt(1/2)."""
    rows = torch.tensor([[[1.0, 0.0], [1.0, 1.0], [0.0, -2.0]]])
    assert mean_cosines(rows) == pytest.approx([2 / 3 * np.sqrt(0.5)])
    assert mean_cosines(torch.eye(4)[None]) == pytest.approx([0.0])


def test_the_spread_of_lengths() -> None:
    lengths = np.array([[1.0, 5.0], [3.0, 5.0]])
    assert spread(lengths, np.ones(2)) == pytest.approx((0.5 + 0.0) / 2)
    assert spread(lengths, np.array([1.0, 0.0])) == pytest.approx(0)


@pytest.mark.nightly
def test_a_text_of_ones_is_orthogonal_and_of_one_length() -> None:
    """A caption is a one for each value that it states, so a change has length sqrt(2) and an axis of its own."""
    pairs = [caption_pairs(DOMAIN, portrait, random.Random(index)) for index, portrait in enumerate(PORTRAITS)]
    found = differences(RenderedNetwork(reads=False), DOMAIN, pairs)
    assert list(found) == [SUMMED, TOKENS]  # this text has no pooled part
    torch.testing.assert_close(found[SUMMED].ours, found[TOKENS].ours)  # and one place
    assert mean_cosines(found[TOKENS].ours) == pytest.approx([0.0] * len(PORTRAITS))
    assert found[TOKENS].ours.norm(dim=2).flatten().tolist() == pytest.approx([2**0.5] * 12 * len(PORTRAITS))
    outcome = compare(pd.DataFrame(text_rows("portraits", SUMMED, found[SUMMED], seed=0)))
    angles, lengths, captions, random_lengths = outcome.claims
    assert {claim.verdict for claim in (angles, lengths, captions)} == {"holds"}
    assert random_lengths.estimate >= 0  # a random change of one attribute has the same length


class Placed(RenderedNetwork):
    """A text is a vector of its own for each word, in the word's place."""

    def embed(self, texts: Sequence[str]) -> Condition:
        tokens = torch.zeros(len(texts), 40, 8)
        for row, text in enumerate(texts):
            for place, word in enumerate(DOMAIN.words(text)):
                tokens[row, place + 1] = draw((8,), seed=0, purpose=word)
        return Condition(tokens=tokens, pooled=tokens[:, 0, :0])


@pytest.mark.slow
def test_the_sum_over_places_knows_no_places() -> None:
    """It is the difference of the words that go and come, wherever they stand."""
    pairs = [caption_pairs(DOMAIN, portrait, random.Random(index)) for index, portrait in enumerate(PORTRAITS[:2])]
    found = differences(Placed(reads=False), DOMAIN, pairs)
    source, target = pairs[1][0][3]
    words = [sum(draw((8,), seed=0, purpose=word) for word in DOMAIN.words(caption)) for caption in (target, source)]
    assert found[SUMMED].ours.shape == (2, 12, 8)
    torch.testing.assert_close(found[SUMMED].ours[1, 3], (words[0] - words[1]).double(), rtol=1e-4, atol=1e-5)
    assert found[TOKENS].ours.shape == (2, 12, 40 * 8)


@pytest.mark.nightly
def test_tokens_at_places_of_their_own_decide_nothing() -> None:
    """One word's vector at twelve places: at right angles by construction, and one direction without the places."""
    word = draw((8, 1, 50), seed=0, purpose="word").double()
    tokens = torch.zeros(8, 12, 12, 50, dtype=torch.float64)
    for place in range(12):
        tokens[:, place, place] = word[:, 0]
    null = draw((8, 12, 12, 50), seed=1, purpose="null").double()
    parts = {SUMMED: (tokens.sum(2), null.sum(2)), TOKENS: (tokens.flatten(2), null.flatten(2))}
    rows = [
        row
        for part, (ours, others) in parts.items()
        for row in text_rows("portraits", part, Differences(ours=ours, null=others), seed=0)
    ]
    found = {claim.measure: claim for claim in compare(pd.DataFrame(rows)).claims}
    angle = "random vectors' mean |cosine| less attributes'"
    assert found[f"{TOKENS} (by construction): {angle}"].verdict == "holds"
    assert found[f"{SUMMED}: {angle}"].verdict == "does not hold"
    assert compare(pd.DataFrame(rows)).claims[0].measure == f"{SUMMED}: {angle}"


@pytest.mark.nightly
def test_random_directions_are_not_more_orthogonal_than_random_ones() -> None:
    """The null: isotropic vectors decide neither way, whatever their dimension."""
    ours, null = (draw((15, 12, 30), seed=seed, purpose="isotropic").double() for seed in (0, 1))
    first = compare(pd.DataFrame(text_rows("portraits", POOLED, Differences(ours=ours, null=null), seed=0))).claims[0]
    assert abs(first.estimate) < 0.01


@pytest.mark.slow
def test_attributes_that_are_alike_do_not_hold() -> None:
    """Every attribute along one axis, lengths from 1 to 8; the null isotropic and of one length."""
    null = torch.nn.functional.normalize(draw((8, 12, 50), seed=0, purpose="null").double(), dim=2)
    noise = 0.1 * draw((8, 12, 50), seed=1, purpose="ours").double()
    axis = torch.zeros(50, dtype=torch.float64)
    axis[0] = 1
    ours = torch.arange(1.0, 9.0).double()[:, None, None] * (axis + noise)
    found = compare(pd.DataFrame(text_rows("portraits", TOKENS, Differences(ours=ours, null=null), seed=0)))
    assert [claim.verdict for claim in found.claims] == ["does not hold"] * 4


@pytest.mark.nightly
def test_the_whole_way(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(known_items, "load", lambda name, **_: RenderedNetwork(reads=False))
    small, steps = TextDirections(portraits=6), list[tuple[str, int, int]]()
    found = small.run(Context(folder=tmp_path, command="it", progress=lambda *step: steps.append(step)))
    assert steps[-1] == ("text-directions", 2, 2)
    assert {claim.model for claim in found.claims} == {"portraits", "portraits-unet"}
    assert len(found.claims) == 2 * 2 * 4
    heads = {claim.model: claim.measure for claim in reversed(found.claims)}
    assert set(heads.values()) == {f"{SUMMED}: random vectors' mean |cosine| less attributes'"}
    figure = new_figure()
    small.draw(found, figure)
    labels = [axis.get_xlabel().split(",")[0] for axis in figure.axes[:2]]
    assert labels == ["mean |cosine|", "coefficient of variation of lengths"]
