"""The rendered set is the same everywhere and balanced, and its answers are those that the captions request."""

import functools
import itertools
import pickle
from collections import Counter
from typing import cast, get_args

import numpy as np
import pytest

from latentedit.core import ConfigError
from latentedit_bench.data.counterfactual import SIZES, VERSION, Captions, Rendered, counterfactual
from latentedit_bench.data.items import Dataset, Item
from latentedit_drawn.domain import PORTRAITS
from latentedit_portraits.attributes import NONE, VALUES, Attributes
from latentedit_portraits.captions import COLOR_OF, MAX_TOKENS, parse, words_of

STILL = ("nothing", "contradiction")
FINGERPRINTS = {
    "2": {
        ("calibration", "full"): "7920351c6c1b5923901176611edcb3c538d77943bdcd26a6be28a5bbb2adb8b9",
        ("calibration", "partial"): "9eb041ec4bd367a1f69151ecea63b02c0e6c1aca09477c427ffee927a4921720",
        ("calibration", "paraphrased"): "6c4cf58102ff488c0bf94cba4a0d48c122654977eec97a33f858b5cf24ed4175",
        ("calibration", "wrong"): "13bff18185bf6acb5121462e6cd59057d067d5a611c874c73eb4acba543b9370",
        ("test", "full"): "e20b4cb0ba17a35eeed11b87583c0249423f8bf43d88d7bb8346c81c4c3bbc1f",
        ("test", "partial"): "8289d9c46472edfa97649a91e8c5f9e3bfa497210dc01d1ac8bf68e5bf2bd76e",
        ("test", "paraphrased"): "3da2f57c9d4915120b9647b4fa2bcdc6c67c30835cfe5cdaae4abf349e36fd60",
        ("test", "wrong"): "482be405f2d16624bc4345e007ca230f8975a99a977d8866cf67fd6e988b80de",
    }
}


@pytest.fixture(params=SIZES)
def split(request: pytest.FixtureRequest) -> str:
    return request.param


@functools.cache
def whole(split: str, captions: str = "full") -> Dataset:
    return counterfactual("portraits", split, captions=captions)


def shown(item: Item) -> Attributes:
    return cast(Attributes, cast(Rendered, item.image).scene)


def wanted(item: Item) -> Attributes:
    return cast(Attributes, cast(Rendered, item.truth).scene)


def described(attributes: Attributes) -> dict[str, str]:
    return {name: getattr(attributes, name) for name in VALUES}


def changed(item: Item) -> set[str]:
    return set(shown(item).differences(wanted(item)))


@pytest.mark.nightly
@pytest.mark.parametrize("captions", get_args(Captions))
def test_the_content_of_a_version_never_changes(split: str, captions: Captions) -> None:
    """Results name the version: other portraits, captions or changes under the same one would not be comparable."""
    advice = "the content has changed: raise VERSION of counterfactual, and add its fingerprints here"
    data = whole(split, captions)
    assert data.fingerprint == FINGERPRINTS[VERSION][split, captions], advice
    assert (data.name, data.version) == (f"counterfactual-portraits/{split}/{captions}", VERSION)
    back = pickle.loads(pickle.dumps(data.items[:20]))
    assert back == data.items[:20]
    assert [item.fingerprint() for item in back] == [item.fingerprint() for item in data.items[:20]]


@pytest.mark.slow
def test_sizes_and_the_balance_of_every_twenty_of_portraits_that_differ(split: str) -> None:
    items = whole(split).items
    assert len(items) == SIZES[split]
    expected = {"single": 10, "graded": 4, "pair": 2, "triple": 2, "nothing": 1, "contradiction": 1}
    for start in range(0, len(items), 20):
        assert Counter(item.kind for item in items[start : start + 20]) == expected
    assert {shown(item).split for item in items} == {split}
    groups = {item.group: shown(item) for item in items}
    assert len(set(groups.values())) == len(groups), "one portrait in several groups: the bootstrap takes them as many"
    assert all(groups[item.group] == shown(item) for item in items)
    assert len(groups) == SIZES[split] - sum(item.kind == "graded" for item in items) // 2


@pytest.mark.slow_except("calibration")
def test_only_requested_attributes_change(split: str) -> None:
    """A color follows its part where there is nothing to color before or after, and nowhere else."""
    counts = {"single": 1, "graded": 1, "pair": 2, "triple": 3}
    for item in whole(split).items:
        if item.kind in STILL:
            continue
        assert parse(item.source_caption) == described(shown(item)), "a full caption names everything"
        assert parse(item.target_caption) == described(wanted(item))
        named = set(item.about["change"].split("+"))
        assert len(named) == counts[item.kind]
        assert ",".join(shown(item).differences(wanted(item))) == item.about["requested"]
        followed = changed(item) - named
        assert named <= changed(item), item.id
        for name in followed:
            part = next(part for part, color in COLOR_OF.items() if color == name)
            assert part in named
            assert NONE in (getattr(shown(item), name), getattr(wanted(item), name))
    # each attribute about equally often; colors of what is not there are passed on to their parts
    alone = Counter(item.about["change"] for item in whole(split).items if item.kind == "single")
    assert set(alone) == set(VALUES)
    assert min(alone.values()) >= sum(alone.values()) / len(VALUES) / 2


def test_graded_changes_go_along_the_order_one_step_and_all_the_way(split: str) -> None:
    groups = itertools.groupby((item for item in whole(split).items if item.kind == "graded"), lambda item: item.group)
    seen: set[str] = set()
    for _, pair in groups:
        near, far = pair
        name = near.about["change"]
        seen.add(name)
        assert shown(near) == shown(far)
        order, scenes = PORTRAITS.ordered[name], (shown(near), wanted(near), wanted(far))
        start, middle, end = (order.index(getattr(one, name)) for one in scenes)
        assert (middle, end) == (start + 1, len(order) - 1)
        assert end > middle
        assert near.id.endswith("-1")
        assert far.id.endswith(f"-{end - start}")
    assert seen == set(PORTRAITS.ordered)


@pytest.mark.nightly
@pytest.mark.parametrize("captions", ["partial", "paraphrased", "wrong"])
def test_other_captions_request_the_same_change_of_the_same_image(split: str, captions: str) -> None:
    """Partial ones leave about half of the rest out; wrong ones state one wrong value, and the color that follows."""
    shares: list[float] = []
    for item, full in zip(whole(split, captions).items, whole(split).items, strict=True):
        assert (item.id, item.image, item.truth) == (full.id, full.image, full.truth)
        stated, right = ([parse(one.source_caption), parse(one.target_caption)] for one in (item, full))
        wrong = {name for name in stated[0] if stated[0][name] != right[0][name]}
        shares.append(len(stated[0]) / len(right[0]))
        if item.kind == "nothing":
            continue
        requested, wanted_too = ({name for name in old if old[name] != new[name]} for old, new in (stated, right))
        assert requested == wanted_too
        assert bool(wrong) == (captions == "wrong")
        assert not wrong & requested
        assert len(wrong) == 1 or len(wrong - set(COLOR_OF.values())) <= 1
        assert captions == "partial" or stated[0].keys() == right[0].keys()
        assert all(len(words_of(text)) + 2 <= MAX_TOKENS for text in (item.source_caption, item.target_caption))
    assert np.mean(shares) == pytest.approx(0.55 if captions == "partial" else 1, abs=0.07)


def test_still_items_have_the_source_for_an_answer(split: str) -> None:
    quiet = [item for item in whole(split).items if item.kind in STILL]
    assert len(quiet) == SIZES[split] // 10
    for item in quiet:
        assert (wanted(item), item.about["requested"]) == (shown(item), "")
        stated, right = parse(item.source_caption), parse(item.target_caption)
        assert right == described(shown(item))
        wrong = {name for name in VALUES if stated[name] != right[name]}
        assert (item.about["change"] in wrong) == (item.kind == "contradiction")
        assert wrong <= {item.about["change"], COLOR_OF.get(item.about["change"])}
        assert item.source_caption != item.target_caption, "where nothing is requested, the words differ"


@pytest.mark.parametrize(
    ("split", "captions", "named"),
    [("train", "full", "calibration, test"), ("test", "short", "full, partial, completed, paraphrased, wrong")],
)
def test_other_splits_and_captions_are_refused(split: str, captions: str, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        counterfactual("portraits", split, captions=captions)
