"""The rendered set is the same everywhere and balanced, and its answers are those that the captions ask for."""

import functools
import itertools
import pickle
from collections import Counter
from typing import cast, get_args

import numpy as np
import pytest

from latentedit.core.errors import ConfigError
from latentedit_bench.data.counterfactual import SIZES, VERSION, Captions, Rendered, counterfactual
from latentedit_bench.data.items import Dataset, Item
from latentedit_portraits.attributes import NONE, VALUES, Attributes, split_of
from latentedit_portraits.captions import COLOR_OF, MAX_TOKENS, parse, words_of
from latentedit_portraits.domain import PORTRAITS

pytestmark = pytest.mark.slow

STILL = ("nothing", "contradiction")
FINGERPRINTS = {
    "2": {
        ("calibration", "full"): "82be22dd668372b3d2c435eca58db47931483a8106a5de41b5888c0c92ae03a4",
        ("calibration", "partial"): "cfbb007c80dff021e9fdbcfba70a964e261661c1529db19c98b24ac6b87da62c",
        ("calibration", "paraphrased"): "60a798383085acf63f70627c705092109202af48d7526df331bb0f79e69327a2",
        ("calibration", "wrong"): "f6c25bdc0f0ee5ce4ff87690db8f0e470225ae7759217e54a5a37711e58367e9",
        ("test", "full"): "f94a13d54afc9dfb18b8914aa5eef34743f493422277f0296948dac973781035",
        ("test", "partial"): "3102d2e74948c22982305b9c1834722740f7d0f65d1aeb1f7df975a5eae4627e",
        ("test", "paraphrased"): "b24763d0de073b93ba039d3cd1073e0d26c04d61dfaed933212937af536642f1",
        ("test", "wrong"): "e6c09c22d5a66fc905810508a8192e4d9dc7ee7d4e412c0a89919a172d761e02",
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


def test_sizes_and_the_balance_of_every_twenty_of_portraits_that_differ(split: str) -> None:
    items = whole(split).items
    assert len(items) == SIZES[split]
    expected = {"single": 10, "graded": 4, "pair": 2, "triple": 2, "nothing": 1, "contradiction": 1}
    for start in range(0, len(items), 20):
        assert Counter(item.kind for item in items[start : start + 20]) == expected
    assert {split_of(shown(item)) for item in items} == {split}
    groups = {item.group: shown(item) for item in items}
    assert len(set(groups.values())) == len(groups), "one portrait in several groups: the bootstrap takes them as many"
    assert all(groups[item.group] == shown(item) for item in items)
    assert len(groups) == SIZES[split] - sum(item.kind == "graded" for item in items) // 2


def test_what_changes_is_what_was_asked_and_nothing_else(split: str) -> None:
    """A color follows its part where there is nothing to color before or after, and nowhere else."""
    counts = {"single": 1, "graded": 1, "pair": 2, "triple": 3}
    for item in whole(split).items:
        if item.kind in STILL:
            continue
        named = set(item.about["change"].split("+"))
        assert len(named) == counts[item.kind]
        assert ",".join(shown(item).differences(wanted(item))) == item.about["asked"]
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


def test_full_captions_name_everything(split: str) -> None:
    for item in whole(split).items:
        said = parse(item.source_caption), parse(item.target_caption)
        if item.kind == "contradiction":
            assert said[1] == described(shown(item))
            wrong = {name for name in VALUES if said[0][name] != said[1][name]}
            assert item.about["change"] in wrong
            assert wrong <= {item.about["change"], COLOR_OF.get(item.about["change"])}
        else:
            assert said == (described(shown(item)), described(wanted(item)))


@pytest.mark.nightly
@pytest.mark.parametrize("captions", ["partial", "paraphrased", "wrong"])
def test_other_captions_ask_for_the_same_change_of_the_same_image(split: str, captions: str) -> None:
    """Partial ones leave about half of the rest out; wrong ones state one wrong value, and the color that follows."""
    shares: list[float] = []
    for item, full in zip(whole(split, captions).items, whole(split).items, strict=True):
        assert (item.id, item.image, item.truth) == (full.id, full.image, full.truth)
        said, right = ([parse(one.source_caption), parse(one.target_caption)] for one in (item, full))
        wrong = {name for name in said[0] if said[0][name] != right[0][name]}
        shares.append(len(said[0]) / len(right[0]))
        if item.kind == "nothing":
            continue
        asked, wanted_too = ({name for name in old if old[name] != new[name]} for old, new in (said, right))
        assert asked == wanted_too
        assert bool(wrong) == (captions == "wrong")
        assert not wrong & asked
        assert len(wrong) == 1 or len(wrong - set(COLOR_OF.values())) <= 1
        assert captions == "partial" or said[0].keys() == right[0].keys()
        assert all(len(words_of(text)) + 2 <= MAX_TOKENS for text in (item.source_caption, item.target_caption))
    assert np.mean(shares) == pytest.approx(0.55 if captions == "partial" else 1, abs=0.07)


def test_still_items_have_the_source_for_an_answer(split: str) -> None:
    quiet = [item for item in whole(split).items if item.kind in STILL]
    assert len(quiet) == SIZES[split] // 10
    for item in quiet:
        assert (wanted(item), item.about["asked"]) == (shown(item), "")
        same = parse(item.source_caption) == parse(item.target_caption)
        assert same == (item.kind == "nothing")
        assert item.source_caption != item.target_caption, "where nothing is asked, the words differ"


@pytest.mark.parametrize(
    ("split", "captions", "named"),
    [("train", "full", "calibration, test"), ("test", "short", "full, partial, completed, paraphrased, wrong")],
)
def test_other_splits_and_captions_are_refused(split: str, captions: str, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        counterfactual("portraits", split, captions=captions)
