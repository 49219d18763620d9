"""Change and drift in closed form, areas under curves that are known, and made-up maps."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.core.rng import draw
from latentedit.latents.joint import JointLatent
from latentedit_bench.experiments import change_or_drift
from latentedit_bench.experiments.change_or_drift import (
    CHANGE,
    CODEC,
    DIFFERENCE,
    DRIFT,
    OTHER,
    ChangeOrDrift,
    area_under,
    change_and_drift,
    located,
    of_others,
    places,
    shares_of,
)
from latentedit_bench.experiments.known_items import CAPTIONS
from tests.bench.experiments.rendered_bench import rows
from tests.bench.rendered_network import COLOURS, RenderedNetwork, prepared


def some_state(latent: JointLatent) -> tuple[Tensor, Tensor]:
    """Where an edit may be, and a noise."""
    return draw(latent.z.shape, seed=0, purpose="u"), draw(latent.z.shape[1:], seed=0, purpose="noise")


def said(condition: Condition) -> Tensor:
    """What a text adds to the velocity at level 1, everywhere in the picture."""
    return (condition.tokens[:, 0] @ COLOURS)[:, :, None, None]


def test_change_and_drift_of_a_field_that_is_linear() -> None:
    """``v = z/2 - s B c``: other texts give ``-s B n`` at any state, another state ``u/2`` under any text."""
    batch, level = prepared(3, reads=False), 0.6
    u, noise = some_state(batch.latent)
    found = change_and_drift(batch.latent, batch.target, u, level, noise)
    by_text = -level * said(batch.target - batch.latent.condition)
    torch.testing.assert_close(found[CHANGE], by_text.expand_as(u), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found[DRIFT], u / 2, rtol=1e-4, atol=1e-5)


def test_they_add_up_to_the_difference_where_text_and_state_act_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """``v = z (1 + B c)``: the difference that FlowEdit takes is their sum, whichever way round it is split."""

    def velocity(_: RenderedNetwork, z: Tensor, s: Tensor, condition: Condition) -> Tensor:
        return z * (1 + said(condition))

    monkeypatch.setattr(RenderedNetwork, "_velocity", velocity)
    batch, level = prepared(3, reads=False), 0.6
    latent: JointLatent = batch.latent
    u, noise = some_state(latent)
    found = change_and_drift(latent, batch.target, u, level, noise)
    x_s = (1 - level) * latent.z + level * noise
    whole = (x_s + u) * (1 + said(batch.target)) - x_s * (1 + said(latent.condition))
    torch.testing.assert_close(found[CHANGE] + found[DRIFT], whole, rtol=1e-4, atol=1e-4)
    shares = [shares_of(found[name], whole) for name in (CHANGE, DRIFT)]
    assert np.sum(shares, axis=0) == pytest.approx(np.ones(3), abs=1e-4)


def test_another_item_is_of_another_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two graded changes of one picture neither is the control of the other, which asks for the same."""
    batch = prepared(7, reads=False)
    groups = [item.group for item in batch.items]
    assert groups[5] == groups[6]
    numbered = torch.arange(7.0)[:, None, None, None].expand_as(batch.latent.z)
    seen: list[Tensor] = []

    def path(*_: object) -> list[tuple[float, dict[str, Tensor]]]:
        return [(0.9, {CHANGE: numbered, DRIFT: 0 * numbered})]

    def noted(values: Tensor, _: Tensor) -> list[dict[str, float]]:
        seen.append(values)
        return [{}] * 7

    monkeypatch.setattr(ChangeOrDrift, "path", path)
    monkeypatch.setattr(change_or_drift, "located", noted)
    ChangeOrDrift().look_at(ChangeOrDrift().parts[0], batch)
    assert [groups[int(z[0, 0, 0])] for z in seen[-1]] == [groups[k] for k in (6, 0, 1, 2, 3, 4, 4)]
    assert of_others(["one", "one"]) == []


def test_areas_in_closed_form() -> None:
    """Perfect order, the reverse, all ties, and one of three pairs the wrong way."""
    wanted = np.array([True, True, False, False])
    for scores, area in (([4, 3, 2, 1], 1.0), ([1, 2, 3, 4], 0.0), ([1, 1, 1, 1], 0.5), ([4, 2, 3, 1], 0.75)):
        assert area_under(np.array(scores, dtype=float), wanted) == pytest.approx(area)


def test_places_are_asked_for_where_enough_pixels_differ() -> None:
    """4 x 4 pixels on 2 x 2 places: one pixel of four is enough, none and what nobody sees are not."""
    difference = torch.zeros(1, 3, 4, 4)
    difference[0, 1, 0, 0] = 0.5
    difference[0, 2, 2:, 2:] = -1.0
    difference[0, 0, 0, 2] = 0.01
    assert places(difference, (2, 2)).tolist() == [[True, False, False, True]]


def test_a_map_of_the_answer_knows_the_places() -> None:
    asked = torch.tensor([[True, False, False, True], [False] * 4])
    values = torch.zeros(2, 3, 2, 2)
    values[0, 1, 0, 0], values[0, 2, 1, 1] = -2.0, 1.0
    first, second = located(values, asked)
    assert first["auc"] == pytest.approx(1.0)
    assert first["correlation"] == pytest.approx(np.corrcoef([4, 1.5, 1.5, 3], [1, 0, 0, 1])[0, 1])
    assert second == {"auc": None, "correlation": None}


def maps(**areas: float) -> pd.DataFrame:
    """Eight items at two levels with partial and full captions; at the first there is no drift."""
    told = {CHANGE: 0.8, DRIFT: 0.6, DIFFERENCE: 0.7, CODEC: 0.95, OTHER: 0.5} | areas
    tables: list[pd.DataFrame] = []
    for captions in CAPTIONS:
        for level in (0.9, 0.5):
            for name, area in told.items():
                if name == DRIFT and level == 0.9:
                    continue
                value = area if level < 0.9 else 0.0
                share = {CHANGE: 0.75, DRIFT: 0.25}.get(name)
                some = pd.DataFrame(rows({name: [0.0] * 8}, captions=captions, level=level, auc=value, share=share))
                tables.append(some.assign(map=name, correlation=value))
    return pd.concat(tables, ignore_index=True)


@pytest.mark.parametrize(("drift", "verdict"), [(0.6, "holds"), (0.9, "does not hold")])
def test_what_eight_items_say(drift: float, verdict: str) -> None:
    """Levels at which there is no drift count for neither."""
    found = ChangeOrDrift().conclude(maps(drift=drift))
    assert found.claims[0].measure == "change less drift, partial captions"
    assert found.claims[0].estimate == pytest.approx(0.8 - drift)
    assert found.claims[0].verdict == verdict
    numbers = {claim.measure: claim.estimate for claim in found.claims}
    assert numbers["change less that of another item, partial captions"] == pytest.approx(0.3)
    assert numbers["change less the encoded right answer, partial captions"] == pytest.approx(-0.15)
    assert numbers["share of the change in the difference, less one half, full captions"] == pytest.approx(0.25)
    assert numbers["change less drift, partial captions, level 0.5"] == pytest.approx(0.8 - drift)


def test_the_path_is_flow_edits() -> None:
    """``u' = u - (s - s') D`` from 0: on the linear field the change stays ``-s B n`` and drift follows u."""
    batch = prepared(2, reads=False)
    it = dataclasses.replace(ChangeOrDrift(), levels=(0.9, 0.5, 0.2))
    by_text = said(batch.target - batch.latent.condition)
    u = torch.zeros_like(by_text)
    for (level, split), after in zip(it.path(batch.latent, batch.target), (0.5, 0.2, 0.0), strict=True):
        torch.testing.assert_close(split[DRIFT].mean((2, 3), keepdim=True), u / 2, rtol=1e-3, atol=1e-4)
        u = u - (level - after) * (u / 2 - level * by_text)
