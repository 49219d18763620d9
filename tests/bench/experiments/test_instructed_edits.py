"""An instruct model whose answers are known, and what is concluded from rows that are made up."""

import dataclasses
import functools
import itertools
import random
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor

from latentedit.api.manifests.items import Item
from latentedit.core.condition import Condition
from latentedit.core.errors import ConfigError
from latentedit.editors.local_change import local_change
from latentedit_bench.data.counterfactual import Rendered, edits_in_a_row
from latentedit_bench.data.prepared import to_tensor
from latentedit_bench.domains.base import instructed
from latentedit_bench.experiments.instructed_edits import (
    ANSWERS,
    BACK,
    CAPTIONED,
    ERROR,
    EVEN,
    IDLE,
    OURS,
    RIVALS,
    ROUNDS,
    ROW,
    STOCK,
    STRENGTH,
    InstructedEdits,
    asked,
    chain_rows,
    idle_item,
    idle_rows,
    pearson,
    step_back,
    walk_rows,
)
from latentedit_bench.experiments.strength_proxies import ladders
from tests.bench.rendered_network import CaptionedNetwork


class ToldNetwork(CaptionedNetwork):
    """Latents are pictures, and every walk ends at ``reference + change + drift``: v leads there straight.

    Above level .5 it is off by .1, which is gone at the end: its judge finds nothing far from what it would draw.

    Args:
        changes: what an instruction changes in the picture, ``[3, 128, 128]``; other texts change nothing.
        drift: what the network repaints without being asked, everywhere.
    """

    def __init__(self, changes: Mapping[str, Tensor], *, drift: float = 0.0) -> None:
        super().__init__(name="told-network", side=128, dtype=torch.float32)
        self.capabilities = dataclasses.replace(self.capabilities, references=1)
        whole = {"levels": (1.0, 0.0), "step_size": None, "steps": 4}
        self.defaults = {"captioner": "portraits", "editors": {"eim": {"search": whole}}}
        self.defaults["judge"] = {"damage": 1000.0}  # so that no strength below 0 is clamped
        self._numbers = {text: number for number, text in enumerate(changes, 1)}
        self._changes, self._drift = torch.stack([torch.zeros(3, 128, 128), *changes.values()]), drift

    def embed(self, texts: Sequence[str]) -> Condition:
        tokens = torch.tensor([self._numbers.get(text, 0) for text in texts], dtype=torch.float32)[:, None, None]
        return Condition(tokens=tokens, pooled=tokens[:, 0, :0])

    def _velocity(self, z: Tensor, s: Tensor, condition: Condition) -> Tensor:
        assert condition.reference is not None
        changed = self._changes[condition.tokens[:, 0, 0].long()]
        level = s[:, None, None, None]
        return (z - condition.reference[0] - changed - self._drift - 0.1 * (level > 0.5)) / level


def rendered(picture: object) -> Rendered:
    assert isinstance(picture, Rendered)
    return picture


def change(before: object, after: object) -> Tensor:
    source, truth = to_tensor([rendered(before)(), rendered(after)()])
    return truth - source


@functools.cache
def two_ladders() -> tuple[tuple[Item, ...], ...]:
    found = tuple(ladders(25, 2))
    assert len({asked(ladder[-1]) for ladder in found}) == 2
    return found


@pytest.mark.nightly
def test_a_straight_way_is_scored_as_one() -> None:
    """Ours and the guidance weight give ``x + strength d`` here: a cross-fade into the right answer, where that is."""
    steps = two_ladders()
    wholes = [ladder[-1] for ladder in steps]
    model = ToldNetwork({asked(item): change(item.picture, item.truth) for item in wholes})
    rows = walk_rows(model, steps, seed=0)
    assert [(row["method"], row["item"]) for row in rows] == [(n, i.id) for n in (OURS, *RIVALS) for i in wholes]
    for row in (one for one in rows if one["method"] in (OURS, "guidance weight")):
        ladder = next(one for one in steps if one[-1].id == row["item"])
        source, answers = to_tensor([ladder[-1].picture()]), to_tensor([rendered(one.truth)() for one in ladder])
        count, whole = len(ladder), (answers[-1] - source[0]).square().sum()
        whole_change = local_change(answers[-1:] - source)[0]
        faded = [source[0] + step / count * whole_change for step in range(1, count + 1)]
        error = sum((a - b).square().sum() / whole for a, b in zip(faded, answers, strict=True)) / count
        assert row[ERROR] == pytest.approx(float(error), abs=2e-3)  # pictures have whole levels
        assert row["rises"] == 1
        ways = [0.0, *(float(((one - source[0]) * (answers[-1] - source[0])).sum() / whole) for one in answers)]
        assert row["straight"] == pytest.approx(pearson([k / count for k in range(count + 1)], ways), abs=1e-3)
        assert row[EVEN] == pytest.approx(row["straight"], abs=1e-3)
        other = step_back(ladder[-1]) if row["method"] == OURS else None
        assert (BACK in row) == (other is not None)
        if other is not None:
            opposite = to_tensor([other()])[0]
            faded_back = (source[0] - whole_change / count).clamp(-1, 1)
            wanted = (faded_back - opposite).square().sum() / (source[0] - opposite).square().sum()
            assert row[BACK] == pytest.approx(float(wanted), rel=0.02)


@pytest.mark.nightly
def test_a_walk_that_changes_nothing_does_not_rise() -> None:
    rows = walk_rows(ToldNetwork({"": torch.zeros(3, 128, 128)}), two_ladders()[1:], seed=0)
    assert (rows[0]["rises"], rows[0]["straight"]) == (0, 0)


def test_a_step_back_has_the_answer_before() -> None:
    """Of the least value there is none; of the answer it is one step less."""
    item = two_ladders()[0][-1]
    world, name = instructed("portraits"), item.about["change"]
    shown = world.attributes(rendered(item.truth).scene)
    least = Rendered(world.change(rendered(item.truth).scene, {name: world.ordered[name][0]}), "portraits")
    assert step_back(dataclasses.replace(item, picture=least)) is None
    back = step_back(dataclasses.replace(item, picture=rendered(item.truth)))
    assert back is not None
    before = world.ordered[name][world.ordered[name].index(shown[name]) - 1]
    assert world.attributes(back.scene) == {**shown, name: before}


@pytest.mark.nightly
def test_only_the_stock_pipeline_adds_up_what_nobody_asked_for() -> None:
    """A drift of .01 a round: ten of them after ten, none with our way, which takes the same walk twice."""
    world, seed = instructed("portraits"), 3
    scene = world.draw("test", 1, 5)[0]
    scenes = [scene, *edits_in_a_row("portraits", scene, ROUNDS, seed=f"chain-0/{seed}")]
    told = [
        world.instruction(*pair, random.Random(f"chain-0/{done}"))
        for done, pair in enumerate(itertools.pairwise(scenes))
    ]
    assert len(set(told)) == ROUNDS
    drawn = [Rendered(one, "portraits") for one in scenes]
    changes = [change(*pair) for pair in itertools.pairwise(drawn)]
    model = ToldNetwork(dict(zip(told, changes, strict=True)), drift=0.01)
    rows = chain_rows(model, {"chain-0": scene}, seed=seed)
    errors = {(row["method"], row["round"]): row[ERROR] for row in rows}
    for done in range(1, ROUNDS + 1):
        assert errors[OURS, done] == pytest.approx(0, abs=1e-5)
        assert errors[STOCK, done] == pytest.approx(0.01 * done, abs=1e-5)


@pytest.mark.slow
def test_instructions_that_do_not_apply() -> None:
    """One network does nothing, the other puts something else in the picture's place."""
    world = instructed("portraits")
    first, second = world.draw("test", 2, 7)
    item = idle_item(world, first, "idle-0")
    same = idle_rows(ToldNetwork({"": torch.zeros(3, 128, 128)}), [item], 0)
    other = change(Rendered(first, "portraits"), Rendered(second, "portraits"))
    spoilt = idle_rows(ToldNetwork({item.target_caption: other}), [item], 0)
    assert [row["others_changed"] for row in same] == [0]
    assert spoilt[0]["others_changed"] > 3


def test_bars_of_made_up_rows() -> None:
    """Ours errs as much as eim, leaves three in four alone, and half as much as the stock pipeline after ten edits.

    Of the eight that it is to leave alone it changes one, and has no finite answer to another. None has a step back.
    """

    def row(task: str, method: str, item: int, **more: float | str) -> dict[str, Any]:
        return {"task": task, "model": "told", "method": method, "item": f"i{item}", "group": f"g{item}", **more}

    answers = {"kind": "single", "asked": "hair", "strength": 1.0, "seed": 0, "effect": 1.0, "leakage": 0.1}
    rows = [
        *(row(ANSWERS, name, i, error=error, **answers) for i in range(8) for name, error in
          ((OURS, 0.1 + 0.01 * i), (CAPTIONED, 0.1 + 0.01 * i), (STOCK, 0.3))),
        *(row(IDLE, OURS, i, others_changed=float(i == 0), failed=float(i == 4)) for i in range(8)),
        *(row(STRENGTH, name, i, straight=0.9, rises=1.0, **{EVEN: 0.98, ERROR: 0.2 + 0.1 * (name in RIVALS)})
          for i in range(8) for name in (OURS, *RIVALS)),
        *(row(ROW, name, i, round=done, **{ERROR: 0.02 * done * (1 + (name == STOCK))})
          for i in range(8) for name in (OURS, STOCK) for done in range(1, ROUNDS + 1)),
    ]  # fmt: skip
    found = InstructedEdits().conclude(pd.DataFrame(rows))
    numbers = [(claim.estimate, claim.verdict) for claim in found.claims]
    assert numbers[0] == (pytest.approx(0.1), "holds")
    assert numbers[1] == (pytest.approx(0.75 - 0.95), "undecided at this size")
    assert numbers[2] == (pytest.approx(0.9 - 0.975), "does not hold")
    assert numbers[3] == (pytest.approx(0.05), "holds")
    assert numbers[4:8] == [(pytest.approx(0.1), "holds")] * 4
    assert numbers[8][0] == pytest.approx(0)
    assert "0.980" in found.notes[0]
    last = found.summary[(found.summary["round"] == ROUNDS) & (found.summary["method"] == STOCK)]
    assert float(last["mean"].iloc[0]) == pytest.approx(0.4)


def test_sizes_and_a_domain_without_instructions() -> None:
    plan = InstructedEdits()
    count = sum(int(unit[2]) for unit in plan.units(None))  # pyright: ignore[reportArgumentType]
    assert count == plan.items + plan.idle + plan.walks + plan.chains
    assert sum(int(unit[2]) for unit in plan.quick().units(None)) == 24  # pyright: ignore[reportArgumentType]
    with pytest.raises(ConfigError, match="'scenes' has captions and no instructions: it lacks instruction"):
        instructed("scenes")
