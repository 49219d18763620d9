"""Captions that change what they should, cosines in closed form, and texts whose differences are known."""

import itertools
import random
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from latentedit.core.condition import Condition
from latentedit.core.rng import draw
from latentedit.geometry.local_basis import LocalBasis
from latentedit_bench.data.prepared import to_tensor
from latentedit_bench.domains.base import attribute_differences
from latentedit_bench.experiments.distances import prompts
from latentedit_bench.experiments.text_directions import text_directions
from latentedit_bench.experiments.texts import caption_pairs, changed_words, graded, text_differences
from latentedit_bench.metrics.vectors import effective_dimension, mean_cosines
from latentedit_portraits.attributes import VALUES, draw_split
from latentedit_portraits.captions import parse
from latentedit_portraits.domain import PORTRAITS as DOMAIN
from tests.bench.experiments.leaning import leaning_basis
from tests.bench.rendered_network import RenderedNetwork
from tests.editors.colors import ColorBackbone

PORTRAITS = draw_split("test", 3, 0)


def test_captions_change_what_they_should() -> None:
    """Ours one attribute, from its first value to its second; random ones about as many words, or one more."""
    for number, portrait in enumerate(PORTRAITS):
        ours, null = caption_pairs(DOMAIN, portrait, random.Random(number))
        for name, (source, target), (same, other) in zip(VALUES, ours, null, strict=True):
            before, after = parse(source), parse(target)
            assert {key for key in before if before[key] != after.get(key)} == {name}
            assert (before[name], after[name]) == DOMAIN.plain_changes[name]
            assert same == source != other
            assert 1 <= changed_words(DOMAIN, source, target) <= 2
            assert abs(changed_words(DOMAIN, source, target) - changed_words(DOMAIN, same, other)) <= 1


def test_cosines_in_closed_form() -> None:
    """Axes are at right angles; (1, 0), (1, 1), (0, -2) have |cosines| sqrt(1/2), 0, sqrt(1/2)."""
    rows = torch.tensor([[[1.0, 0.0], [1.0, 1.0], [0.0, -2.0]]])
    assert mean_cosines(rows) == pytest.approx([2 / 3 * np.sqrt(0.5)])
    assert mean_cosines(torch.eye(4)[None]) == pytest.approx([0.0])


def test_the_effective_dimension_is_an_average_over_four_different_rows() -> None:
    """Its numerator and denominator written out, for rows with a mean; what is added to all rows does not matter."""
    rows = draw((6, 3), seed=0, purpose="rows").double() * torch.tensor([3.0, 1.0, 0.5]) + 2.0
    above = below = 0.0
    for i, j, k, m in itertools.permutations(range(6), 4):
        one, other = rows[i] - rows[j], rows[k] - rows[m]
        above += float(one @ one * (other @ other))
        below += float(one @ other) ** 2
    assert effective_dimension(rows) == pytest.approx(above / below, rel=1e-10)
    assert effective_dimension(5.0 * rows + 100.0) == pytest.approx(above / below, rel=1e-8)


def test_a_text_of_ones_is_orthogonal_and_beats_its_random_captions() -> None:
    """A caption is a one for each value that it states, so a change of an attribute has an axis of its own."""
    pairs = [caption_pairs(DOMAIN, portrait, random.Random(index)) for index, portrait in enumerate(PORTRAITS)]
    text, sets = text_differences(RenderedNetwork(reads=False), DOMAIN, pairs)
    assert text == "tokens summed over places"
    rows = list(text_directions.function(*sets))
    assert [row["portrait"] for row in rows] == [0, 1, 2]
    assert [row["cosine"] for row in rows] == pytest.approx([0.0] * 3)
    assert all(0 < row["below random"] < 1 and 0 < row["below captions"] < 1 for row in rows)


class Placed(RenderedNetwork):
    """A text is a vector of its own for each word, in the word's place; what follows them is of the text's length."""

    def embed(self, texts: Sequence[str]) -> Condition:
        tokens = torch.zeros(len(texts), 60, 8)
        for row, text in enumerate(texts):
            tokens[row, len(DOMAIN.words(text)) + 2 :] = len(text)
            for place, word in enumerate(DOMAIN.words(text)):
                tokens[row, place + 1] = draw((8,), seed=0, purpose=word)
        return Condition(tokens=tokens, pooled=tokens[:, 0, :0])


def test_the_sum_over_places_knows_no_places_and_no_padding() -> None:
    """It is the difference of the words that go and come, wherever they stand."""
    pairs = [caption_pairs(DOMAIN, portrait, random.Random(index)) for index, portrait in enumerate(PORTRAITS[:2])]
    text, (ours, null) = text_differences(Placed(reads=False), DOMAIN, pairs)
    assert (text, ours.shape, null.shape) == ("tokens summed over places", (2, 12, 8), (2, 12, 8))
    for found, (source, target) in ((ours[1, 3], pairs[1][0][3]), (null[0, 5], pairs[0][1][5])):
        assert len(DOMAIN.words(source)) == len(DOMAIN.words(target))
        words = [sum(draw((8,), seed=0, purpose=word) for word in DOMAIN.words(one)) for one in (target, source)]
        torch.testing.assert_close(found, (words[0] - words[1]).double(), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_prompts_differ_from_the_image_in_the_requested_number_of_attributes() -> None:
    """Each scene has draws of its own, and each seed."""
    for own in draw_split("test", 12, 3):
        found = graded(DOMAIN, own, (0, 1, 4, 12), seed=2)
        assert found[0] == own
        assert [len(attribute_differences(DOMAIN, one, own)) for one in found] == [0, 1, 4, 12]
        assert found == graded(DOMAIN, own, (0, 1, 4, 12), seed=2)
        assert found[1:] != graded(DOMAIN, own, (0, 1, 4, 12), seed=3)[1:]


def test_prompts_begin_with_what_the_image_shows() -> None:
    """Each prompt has a basis of its own, and the similarity is the cosine of two texts' embeddings."""
    (own,), prompted = draw_split("test", 1, 3), list[str]()
    frame = SimpleNamespace(pixels=to_tensor([Image.fromarray(DOMAIN.render(own))])[0])

    def basis(image: int, level: float, *, prompt: str) -> LocalBasis:
        prompted.append(prompt)
        return leaning_basis(ColorBackbone(), 0.3 * (len(prompted) - 1))

    latents = [SimpleNamespace(frames=[frame])]
    study: Any = SimpleNamespace(backbone=RenderedNetwork(), latents=latents, basis=basis, seed=2, ranks="gap")
    rows = [row for row in prompts.function(study, 0.5, 0, replaced=(0, 1, 4)) if row["rank"] == 1]
    assert parse(prompted[0]) == {name: getattr(own, name) for name in VALUES}
    assert [row["distance"] for row in rows] == pytest.approx([0.3 * 2 / np.pi * lean for lean in (1, 2, 1)], abs=1e-3)
    first, second = (row["similarity"] for row in rows[:2])
    assert 1 > first > second > 0
