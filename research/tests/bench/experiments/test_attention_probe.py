"""The probe: its classifier, what it keeps of attention, where phrases are, and which images and captions it pairs."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from latentedit.numerics import draw
from latentedit_bench.domains.base import full_caption, load_domain
from latentedit_bench.experiments import attention_probe as module
from latentedit_bench.experiments.attention_probe import (
    BOTH,
    CAPTION,
    IMAGE,
    VALUES,
    WEIGHTS,
    Pairs,
    Probed,
    attention_probe,
    linear_predictions,
    phrase_tokens,
)
from latentedit_bench.experiments.experiment import Context

TEXT, IMAGE_TOKENS = 5, 64


def test_the_classifier_is_ridge_regression_with_the_best_damping() -> None:
    """Written in the space of features, and each image really left out; one feature does not vary."""
    generator = np.random.default_rng(0)
    labels = np.tile([-1.0, 1.0], 10)
    train, test = (generator.normal(3, 2, (count, 6)) for count in (20, 7))
    train[:, 0] += 2 * labels
    train[:, 5] = test[:, 5] = 1.0
    scaled = [(one[:, :5] - train[:, :5].mean(0)) / train[:, :5].std(0) for one in (train, test)]

    def predicted(x: Any, y: Any, damping: float, seen: Any) -> Any:
        return seen @ np.linalg.solve(x.T @ x / 6 + damping * np.eye(5), x.T @ y / 6)

    def error(damping: float) -> float:
        kept = [np.arange(20) != i for i in range(20)]
        found = [predicted(scaled[0][k], labels[k], damping, scaled[0][i]) for i, k in enumerate(kept)]
        return float(np.square(labels - found).mean())

    best = min(module._DAMPINGS, key=error)
    assert module._DAMPINGS[0] < best < module._DAMPINGS[-1]
    expected = predicted(scaled[0], labels, best, scaled[1])
    assert linear_predictions(train, labels, test) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("joint", [True, False])
def test_weights_are_shares_among_the_text(joint: bool) -> None:
    """Attention of 64 places of the image to all tokens, of which those to the text are made to add up to 1."""
    query, key, value = (
        draw((2, 3, IMAGE_TOKENS + TEXT, 4), seed=index, purpose="attention").double() for index in range(3)
    )
    if not joint:
        query, key, value = query[:, :, :IMAGE_TOKENS], key[:, :, IMAGE_TOKENS:], value[:, :, IMAGE_TOKENS:]
    with module._Attention(TEXT) as kept:
        scaled_dot_product_attention(query, key, value)
        scaled_dot_product_attention(query[:, :, :IMAGE_TOKENS], query[:, :, :IMAGE_TOKENS], query[:, :, :IMAGE_TOKENS])
    (weights,), (values,) = kept.weights, kept.values
    grown = torch.einsum("bhqd,bhkd->bhqk", query[:, :, :IMAGE_TOKENS], key).div(2).exp()[..., -TEXT:]
    assert torch.allclose(weights, (grown / grown.sum(-1, keepdim=True)).mean(1), atol=1e-12)
    assert torch.equal(values[1, 3], value[1, :, -2].flatten())


def test_maps_of_finer_layers_are_averaged_over_their_places() -> None:
    query = draw((1, 1, 256, 4), seed=0, purpose="attention").double()
    key = draw((1, 1, TEXT, 4), seed=1, purpose="attention").double()
    with module._Attention(TEXT) as kept:
        scaled_dot_product_attention(query, key, key)
    fine = (query[0, 0] @ key[0, 0].T / 2).softmax(-1).reshape(16, 16, TEXT)
    assert torch.allclose(kept.weights[0][0, 8 * 2 + 3], fine[4:6, 6:8].mean((0, 1)), atol=1e-12)


@pytest.mark.parametrize("name", ["portraits", "scenes"])
def test_phrases_are_found_behind_the_first_token(name: str) -> None:
    domain = load_domain(name)
    for scene in domain.draw("test", 5, 0):
        tokens = ["begin", *domain.words(full_caption(domain, scene))]
        found = [tokens[span] for span in phrase_tokens(domain, scene)]
        assert found == [domain.words(phrase) for phrase in domain.phrases(scene)]


def test_only_the_phrases_that_hold_the_value_are_read() -> None:
    """Phrase 1 is the attribute's own, phrase 2 leaks it, phrase 0 is noise."""
    count, key = 400, (BOTH, WEIGHTS)
    noise = [draw((count, 3, 4), seed=seed, purpose="probe").double() for seed in (0, 1)]
    sign = torch.tensor([-1.0, 1.0]).repeat(count // 2).double()
    for one in noise:
        one[:, 1, 0] = sign
        one[:, 2, 3] = sign + 0.1 * one[:, 2, 3]
    rows = list(
        attention_probe.function(Probed(train={key: noise[0]}, test={key: noise[1]}, own=frozenset({1})), seed=0)
    )
    assert [(row["place"], row["differ"], row["what"]) for row in rows[:: count // 2]] == [
        (place, BOTH, WEIGHTS) for place in ("earlier", "own", "later")
    ]
    for phrase, expected in ((0, 0.5), (1, 1.0), (2, 1.0)):
        some = [row for row in rows if row["phrase"] == phrase]
        assert [row["scene"] for row in some] == list(range(count // 2))
        # Two standard errors of 400 coins are .05.
        assert np.mean([row["read"] for row in some]) == pytest.approx(expected, abs=0.08)
        assert [row["below"] for row in some] == pytest.approx([0.6 - row["read"] for row in some])


def test_shuffled_labels_say_nothing_of_the_own_phrase() -> None:
    """They are those of the images in either order: over 40 shuffles, half of the values are read (0.5 +- .16)."""
    sign = torch.tensor([-1.0, 1.0]).repeat(10).double()[:, None, None]
    probed = Probed(train={(BOTH, WEIGHTS): sign}, test={(BOTH, WEIGHTS): sign}, own=frozenset({0}))
    rows = [row for seed in range(40) for row in attention_probe.function(probed, seed=seed)]
    assert np.mean([row["read"] for row in rows]) == 1
    assert np.mean([row["null"] for row in rows]) == pytest.approx(0.5, abs=0.16)


class Fake:
    """A network whose attention compares places of the image with words, and that keeps what it was given."""

    device, defaults = torch.device("cpu"), {"captioner": "portraits"}

    def __init__(self) -> None:
        self.passes: list[tuple[Tensor, list[str]]] = []
        self.captions: list[str] = []

    def encode(self, pixels: Tensor) -> Tensor:
        return pixels[:, :, ::16, ::16]

    def embed(self, captions: list[str]) -> SimpleNamespace:
        self.captions = captions
        words = [["", *load_domain("portraits").words(caption)] for caption in captions]
        tokens = torch.zeros(len(words), 40, 3)
        for row, some in enumerate(words):
            for column, word in enumerate(some):
                tokens[row, column] = draw((3,), seed=0, purpose=word)
        return SimpleNamespace(tokens=tokens)

    def velocity(self, x: Tensor, s: Tensor, text: SimpleNamespace) -> None:
        self.passes.append((x, self.captions))
        tokens = text.tokens[:, None]
        scaled_dot_product_attention(x.flatten(2).mT[:, None].contiguous(), tokens, tokens)


@pytest.mark.slow
@pytest.mark.parametrize("level", [0.0, 0.5])
def test_pairs_differ_in_the_image_or_in_the_caption(tmp_path: Path, level: float) -> None:
    fake, context = Fake(), Context(folder=tmp_path, command="", cache={})
    context.cache["model", "portraits"] = fake
    rows = list(Pairs(train=12, test=4, level=level).measure(attention_probe.function, ("portraits", "hair"), context))
    assert len(fake.passes) == 2 * 3
    for start in (0, 3):
        for (x, captions), (image, caption) in zip(
            fake.passes[start : start + 3], ((True, True), (False, True), (True, False)), strict=True
        ):
            assert [old != new for old, new in zip(captions[::2], captions[1::2], strict=True)] == [caption] * (
                len(x) // 2
            )
            moved = (x[::2] != x[1::2]).flatten(1).any(1)
            assert moved.all() if image or level else not moved.any()
    assert {row["differ"] for row in rows} == {BOTH, CAPTION, IMAGE}
    values = [row for row in rows if row["what"] == VALUES]
    assert {row["read"] for row in values if row["place"] == "own" and row["differ"] != IMAGE} == {1.0}
    assert {row["read"] for row in values if row["differ"] == IMAGE or row["place"] != "own"} == {0.5}


def test_a_phrase_has_the_sum_of_its_words_weights_and_the_mean_of_their_values() -> None:
    fake, domain = Fake(), load_domain("portraits")
    (scene,) = domain.draw("test", 1, 0)
    found = Pairs(level=0.25)._features(fake, domain, [scene, scene], "test")
    (x, _), tokens = fake.passes[0], fake.embed([full_caption(domain, scene)]).tokens[0]
    shares = (x[1].flatten(1).T @ tokens.T / 3**0.5).softmax(-1).double()
    for index, span in enumerate(phrase_tokens(domain, scene)):
        assert torch.allclose(found[BOTH, WEIGHTS][1, index], shares[:, span].sum(1), atol=1e-6)
        assert torch.allclose(found[BOTH, VALUES][1, index], tokens[span].mean(0).double(), atol=1e-6)


def test_a_model_with_many_attributes_is_probed_for_evenly_spaced_ones(tmp_path: Path) -> None:
    context = Context(folder=tmp_path, command="", cache={("model", "portraits"): Fake()})
    names = list(load_domain("portraits").plain_changes)
    units = Pairs(models=("portraits",), attributes=6).units(attention_probe.function, context)
    assert units == [("portraits", name) for name in names[::2]]
