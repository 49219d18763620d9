"""Batches of one size in the items' order, and everything about them on one scale."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from latentedit.core import ConfigError
from latentedit.encoding import changed_phrases
from latentedit_bench.data.counterfactual import SIZES, counterfactual
from latentedit_bench.data.items import Item
from latentedit_bench.data.prepared import evenly, prepare, same_size, to_tensor
from latentedit_portraits.reader import reader_for
from research.tests.bench.rendered_network import RenderedNetwork, prepared, some_items


def sized(name: str, width: int, height: int = 20) -> Item:
    captions = {"source_caption": "a", "target_caption": "b"}
    return Item(id=name, image=lambda: Image.new("RGB", (width, height), "red"), **captions)


def test_batches_are_of_one_size_and_keep_the_order() -> None:
    items = [sized(str(number), width) for number, width in enumerate((20, 20, 20, 30, 20, 20))]
    found = [[item.id for item in batch] for batch in same_size(items, 2)]
    assert found == [["0", "1"], ["2"], ["3"], ["4", "5"]]
    some = some_items()[:4]
    mixed = [*some[:2], *(dataclasses.replace(item, truth=None, mask=None) for item in some[2:])]
    found = [[item.id for item in batch] for batch in same_size(mixed, 20)]
    assert found == [[item.id for item in part] for part in (some[:2], some[2:])], "none takes another's right answer"


@given(count=st.integers(1, 400), most=st.integers(1, 50))
def test_batches_are_as_even_as_can_be(count: int, most: int) -> None:
    batches = evenly([sized(str(number), 1) for number in range(count)], most)
    sizes = [len(batch) for batch in batches]
    assert [int(one.id) for batch in batches for one in batch] == list(range(count))
    assert len(sizes) == -(-count // most), "no more of them than there must be"
    assert max(sizes) <= most
    assert max(sizes) - min(sizes) <= 1


def test_images_are_numbers_from_minus_one_to_one() -> None:
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 4, 3) * 11
    pixels[-1, -1] = 255
    found = to_tensor([Image.fromarray(pixels), Image.fromarray(pixels[::-1].copy())])
    assert found.shape == (2, 3, 2, 4)
    assert torch.equal(found[0], found[1].flip(1))
    assert np.allclose(found[0].permute(1, 2, 0).numpy(), pixels / 127.5 - 1, atol=1e-6)
    assert found.max() == 1


def test_everything_about_a_batch_is_there() -> None:
    batch, items = prepared(), some_items()
    assert batch.items == items
    assert batch.latent.captions == tuple(item.source_caption for item in items)
    assert batch.truth is not None
    assert batch.mask is not None
    assert batch.answer_pixels is not None
    for index, item in enumerate(items):
        assert item.truth is not None
        assert item.mask is not None
        assert torch.equal(batch.source[index], to_tensor([item.image()])[0])
        assert torch.equal(batch.truth[index], to_tensor([item.truth()])[0])
        assert np.array_equal(batch.mask[index, 0].numpy(), item.mask())
    assert torch.equal(batch.answer_pixels, batch.truth)
    assert torch.equal(batch.latent.z, batch.source), "the codec is the identity, and so is the way to its size"
    expected = batch.latent.backbone.embed([item.target_caption for item in items]).tokens
    assert torch.equal(batch.target.tokens, expected)
    reader = reader_for(batch.latent.backbone)
    before, after = reader.probabilities(batch.source), reader.probabilities(batch.truth)
    edited, nothing = batch.read(batch.truth - batch.source), batch.read(torch.zeros_like(batch.source))
    # the same numbers in another layout of memory, and source + (truth - source), differ from the truth by 1e-7, which
    # the reader's layers enlarge
    for found, expected in ((batch.before, before), (nothing, before), (batch.answer, after), (edited, after)):
        assert found is not None
        assert all(torch.allclose(found[name], expected[name], atol=1e-3) for name in expected)
    assert not torch.allclose(before["skin"], after["skin"], atol=1e-3)


def test_truths_and_a_classifier_may_be_missing_and_sizes_must_agree() -> None:
    bare = [dataclasses.replace(item, truth=None, mask=None) for item in some_items()[:2]]
    batch = prepare(RenderedNetwork(reads=False), bare)
    assert (batch.truth, batch.mask, batch.before, batch.answer, batch.answer_pixels) == (None,) * 5
    assert batch.read(torch.zeros_like(batch.source)) is None
    with pytest.raises(ConfigError):
        prepare(RenderedNetwork(reads=False), [sized("a", 20), sized("b", 30)])


@pytest.mark.slow
def test_completed_items_have_the_captions_of_the_classifier(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The rest of a partial caption is read from the image; the same items request the same changes."""
    monkeypatch.setitem(SIZES, "test", 20)
    partial, completed, full = (
        counterfactual("portraits", "test", captions=c) for c in ("partial", "completed", "full")
    )
    requested = [index for index, item in enumerate(full.items[:12]) if item.about["requested"]]
    batch = prepare(RenderedNetwork(), [completed.items[index] for index in requested])
    reader = reader_for(batch.latent.backbone)
    read = reader.caption(to_tensor([completed.items[index].image() for index in requested]))
    pairs = list(zip(batch.latent.captions, batch.targets, strict=True))
    for index, caption, (source, target) in zip(requested, read, pairs, strict=True):
        assert source == caption
        assert changed_phrases(source, target) == changed_phrases(
            partial.items[index].source_caption, partial.items[index].target_caption
        )
    assert completed.fingerprint != partial.fingerprint
