"""Differences of two models with known scores, what the cards say of them, and the whole way on a drawn model."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from latentedit_bench.experiments.base import Context
from latentedit_bench.experiments.network_kinds import ARMS, MODELS, NetworkKinds, compare, parameters, undrawn
from latentedit_bench.experiments.plotting import new_figure
from tests.bench.experiments.rendered_bench import rows, use_rendered


def scored(model: str, sde: float, others: float, *, at_eyebrows: float) -> Any:
    """Eight items by both arms; the first two ask for eyebrows and skin, and score differently."""
    table = pd.DataFrame(
        rows(dict.fromkeys(ARMS, [sde] * 8), decomposability=sde, others_changed=others) if others >= 0 else []
    ).assign(model=model)
    table["asked"] = table["item"].map(lambda item: "skin,eyebrows" if item in ("i00", "i01") else "hair")
    table.loc[table["asked"] != "hair", "disentanglement"] = at_eyebrows
    return table


def test_the_transformer_less_the_unet() -> None:
    pair = scored(MODELS[0], 0.8, 0.0, at_eyebrows=1.0), scored(MODELS[1], 0.7, 1.0, at_eyebrows=0.2)
    found = compare(*pair, frozenset({"eyebrows"}), "used")
    numbers = {claim.measure: claim.estimate for claim in found.claims}
    assert numbers["SDE, text arm, all attributes"] == pytest.approx((6 * 0.1 + 2 * 0.8) / 8)
    assert numbers["SDE, text arm, attributes that both draw"] == pytest.approx(0.1)
    assert numbers["decomposability, image arm, all attributes"] == pytest.approx(0.1)
    assert numbers["other attributes that the reader sees change, text arm, all attributes"] == pytest.approx(1.0)
    assert found.claims[0].measure == "SDE, text arm, all attributes"
    assert found.claims[1].samples == 6
    assert {claim.verdict for claim in found.claims} == {"holds"}
    swapped = compare(pair[1], pair[0], frozenset({"eyebrows"}), "used")
    assert {claim.verdict for claim in swapped.claims} == {"does not hold"}


def test_what_the_cards_say() -> None:
    assert undrawn() == {"eyebrows"}


def test_parameters_are_counted() -> None:
    """As the models' cards say."""
    assert parameters("portraits") == pytest.approx(18.6e6, rel=0.005)
    assert parameters("portraits-unet") == pytest.approx(19.6e6, rel=0.005)


def test_the_whole_way(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Two models that are one: all differences are 0."""
    loaded = use_rendered(monkeypatch)
    small = NetworkKinds(items=3, calibration=2, levels=(0.5, 0.9), shifts=(1.0, 2.5))
    found = small.run(Context(folder=tmp_path, command="it"))
    assert [claim.estimate for claim in found.claims] == [0.0] * 12
    assert "18.6 million" in " ".join(found.notes)
    figure = new_figure()
    small.draw(found, figure)
    assert len(figure.axes[1].get_yticklabels()) == 12
    with loaded.count() as cost:
        small.run(Context(folder=tmp_path, command="it"))
    assert cost.evaluations == 0


def test_quick_asks_the_same_of_fewer() -> None:
    quick = NetworkKinds().quick()
    assert quick.items < NetworkKinds().items
    assert quick.plan.keys() == NetworkKinds().plan.keys()
