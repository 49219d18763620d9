"""Differences of networks with known scores, over items and over trainings, and what their cards say."""

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from latentedit_bench.experiments import network_kinds
from latentedit_bench.experiments.base import Outcome
from latentedit_bench.experiments.known_items import CAPTIONS, MODELS
from latentedit_bench.experiments.network_kinds import ARMS, THESE, NetworkKinds, over_trainings
from tests.bench.experiments.rendered_bench import rows

FURTHER = ("portraits", "another", "portraits-unet", "another-unet")


def scored(model: str, sde: float, others: float, *, at_eyebrows: float) -> Any:
    """Eight items by both arms; the first two ask for eyebrows and skin, and score differently."""
    table = pd.DataFrame(rows(dict.fromkeys(ARMS, [sde] * 8), decomposability=sde, others_changed=others))
    table["asked"] = table["item"].map(lambda item: "skin,eyebrows" if item in ("i00", "i01") else "hair")
    table.loc[table["asked"] != "hair", "disentanglement"] = at_eyebrows
    return pd.concat([table.assign(captions=one) for one in CAPTIONS]).assign(model=model)


def concluded(*tables: Any, models: tuple[str, ...] = MODELS) -> Outcome:
    """With calibration rows in which the second setting of each arm is the best."""
    settings = {"text at 0.75": 0.1, "text at 0.85": 0.9, "image, shift 1": 0.2, "image, shift 2.5": 0.8}
    calibration = pd.DataFrame(rows({name: [score] * 4 for name, score in settings.items()}))
    parts = [calibration.assign(model=name, split="calibration") for name in models]
    return NetworkKinds(models=models).conclude(pd.concat([*parts, *tables]))


@pytest.mark.nightly
def test_one_training_of_a_kind_decides_nothing_and_these_networks_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The U-Net's card says that it does not draw eyebrows."""
    cards = {MODELS[0]: {"mean": 1.0, "eyebrows": 1.0}, MODELS[1]: {"mean": 0.9, "eyebrows": 0.5, "hair": 1.0}}
    monkeypatch.setattr(network_kinds, "_adherence", lambda model: cards[model])
    pair = scored(MODELS[0], 0.8, 0.0, at_eyebrows=1.0), scored(MODELS[1], 0.7, 1.0, at_eyebrows=0.2)
    found = concluded(*pair)
    first = found.claims[0]
    assert first.measure == "SDE, text arm, all attributes, partial captions"
    assert first.estimate == pytest.approx((6 * 0.1 + 2 * 0.8) / 8)
    assert math.isnan(first.low + first.high)
    assert {one.verdict for one in found.claims if one.statement != THESE} == {"undecided at this size"}
    these = {one.measure.removesuffix(", partial captions"): one for one in found.claims if one.statement == THESE}
    both = these["SDE, text arm, attributes that every model draws"]
    assert (both.estimate, both.samples) == (pytest.approx(0.1), 6), "eyebrows are not drawn by both"
    assert these["decomposability, image arm, all attributes"].estimate == pytest.approx(0.1)
    changed = these["other attributes that the reader sees change, text arm, all attributes"]
    assert changed.estimate == pytest.approx(1.0)
    assert {one.verdict for one in these.values()} == {"holds"}
    told = " ".join(found.notes)
    assert "Undecided: one training of a kind (transformer, unet)" in told
    assert "SDE, text arm 0.1 [0.1, 0.1] (the transformers)" in told
    for count in ("18.6 million", "19.6 million"):
        assert count in told, "as the models' cards say"
    swapped = concluded(*(table.assign(model=name) for table, name in zip(pair, MODELS[::-1], strict=True)))
    assert {one.verdict for one in swapped.claims if one.statement == THESE} == {"does not hold"}
    assert "(the U-Nets)" in " ".join(swapped.notes)


def trained(*means: float, noise: float = 0.0, count: int = 400) -> pd.DataFrame:
    """Scores of `FURTHER`, each about its mean; items of one group each, and what differs between them is no one's."""
    generator = np.random.default_rng(2)
    index = pd.MultiIndex.from_tuples([(f"g{i}", f"i{i}") for i in range(count)], names=["group", "item"])
    shared = generator.normal(size=count)
    columns = {n: m + shared + noise * generator.normal(size=count) for n, m in zip(FURTHER, means, strict=True)}
    return pd.DataFrame(columns, index=index)


KINDS = dict(zip(FURTHER, ("transformer", "transformer", "unet", "unet"), strict=True))


def test_the_interval_is_welchs_where_items_do_not_matter() -> None:
    scores = trained(0.9, 0.7, 0.5, 0.2)
    found = over_trainings(scores, KINDS)
    means = [scores[name].mean() for name in FURTHER]
    there = stats.ttest_ind(means[:2], means[2:], equal_var=False).confidence_interval(0.95)
    assert found.mean == pytest.approx(0.45)
    assert (found.low, found.high) == (pytest.approx(there.low, rel=1e-3), pytest.approx(there.high, rel=1e-3))


def test_items_widen_it() -> None:
    """Equal trainings, whose items alone differ, have the interval of items: 1.96 to 12.7 standard errors."""
    scores = trained(0.5, 0.5, 0.5, 0.5, noise=1.0)
    found = over_trainings(scores, KINDS)
    error = (scores[list(FURTHER[:2])].mean(axis=1) - scores[list(FURTHER[2:])].mean(axis=1)).std() / 400**0.5
    assert 1.9 * error < found.high - found.mean < 20 * error
    assert found.low == pytest.approx(2 * found.mean - found.high)


@pytest.mark.slow
def test_several_trainings_of_a_kind_decide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network_kinds, "kind_of", KINDS.__getitem__)
    monkeypatch.setattr(network_kinds, "undrawn", lambda _: frozenset())
    monkeypatch.setattr(network_kinds, "_card", str)
    scores = dict(zip(FURTHER, (0.8, 0.801, 0.3, 0.301), strict=True))
    tables = [scored(name, sde, 0.0, at_eyebrows=sde) for name, sde in scores.items()]
    found = concluded(*tables, models=FURTHER)
    assert found.claims[0].verdict == "holds"
    assert found.claims[0].estimate == pytest.approx(0.5)
    assert not any(note.startswith("Undecided") for note in found.notes)
    assert [part.model for part in NetworkKinds(models=FURTHER).parts[::3]] == list(FURTHER)
