"""Differences of two models with known scores, what the cards say of them, and the whole way on a drawn model."""

from typing import Any

import pandas as pd
import pytest

from latentedit_bench.experiments.base import Outcome
from latentedit_bench.experiments.network_kinds import ARMS, MODELS, NetworkKinds
from tests.bench.experiments.rendered_bench import rows


def scored(model: str, sde: float, others: float, *, at_eyebrows: float) -> Any:
    """Eight items by both arms; the first two ask for eyebrows and skin, and score differently."""
    table = pd.DataFrame(
        rows(dict.fromkeys(ARMS, [sde] * 8), decomposability=sde, others_changed=others) if others >= 0 else []
    ).assign(model=model)
    table["asked"] = table["item"].map(lambda item: "skin,eyebrows" if item in ("i00", "i01") else "hair")
    table.loc[table["asked"] != "hair", "disentanglement"] = at_eyebrows
    return table


def concluded(transformer: pd.DataFrame, unet: pd.DataFrame) -> Outcome:
    """With calibration rows in which the second setting of each arm is the best."""
    settings = {"text at 0.75": 0.1, "text at 0.85": 0.9, "image, shift 1": 0.2, "image, shift 2.5": 0.8}
    calibration = pd.DataFrame(rows({name: [score] * 4 for name, score in settings.items()}))
    parts = [calibration.assign(run=f"{name}-calibration") for name in MODELS]
    parts += [table.assign(run=f"{name}-test") for name, table in zip(MODELS, (transformer, unet), strict=True)]
    return NetworkKinds().conclude(pd.concat(parts))


def test_the_transformer_less_the_unet() -> None:
    pair = scored(MODELS[0], 0.8, 0.0, at_eyebrows=1.0), scored(MODELS[1], 0.7, 1.0, at_eyebrows=0.2)
    found = concluded(*pair)
    numbers = {claim.measure: claim.estimate for claim in found.claims}
    assert numbers["SDE, text arm, all attributes"] == pytest.approx((6 * 0.1 + 2 * 0.8) / 8)
    assert numbers["SDE, text arm, attributes that both draw"] == pytest.approx(0.1), "eyebrows are not drawn by both"
    assert numbers["decomposability, image arm, all attributes"] == pytest.approx(0.1)
    assert numbers["other attributes that the reader sees change, text arm, all attributes"] == pytest.approx(1.0)
    assert found.claims[0].measure == "SDE, text arm, all attributes"
    assert found.claims[1].samples == 6
    assert {claim.verdict for claim in found.claims} == {"holds"}
    best = "text at 0.85, image, shift 2.5"
    assert found.notes[0] == f"Best on the calibration split: {'; '.join(f'{name}: {best}' for name in MODELS)}."
    for count in ("18.6 million", "19.6 million"):
        assert count in " ".join(found.notes), "as the models' cards say"
    swapped = concluded(pair[1], pair[0])
    assert {claim.verdict for claim in swapped.claims} == {"does not hold"}
