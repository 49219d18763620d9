"""The gain of made-up scores, the choice on calibration items, equal budgets, and the whole way on a drawn model."""

import pandas as pd
import pytest

from latentedit.editors.eim import EIM
from latentedit_bench.experiments.base import Outcome
from latentedit_bench.experiments.benchmark_runs import asking, some_latent
from latentedit_bench.experiments.joint_latent import ONE_LOOK, TUNED, JointLatent, chosen
from latentedit_bench.metrics.statistics import Table
from latentedit_bench.tuning.tuning import stored_methods
from tests.bench.experiments.rendered_bench import rows, use_rendered

SMALL = JointLatent(items=3, calibration=2, levels=(0.5, 0.9))


def scored(**arms: float) -> Table:
    """Eight items that all settings of an arm score alike, but for what names a setting; the stored ones score .5."""
    scores = {one.name: arms[one.arm] for one in SMALL.settings} | dict.fromkeys(TUNED, 0.5)
    scores |= {name.replace("_", " "): value for name, value in arms.items() if "_" in name}
    return pd.DataFrame(rows({name: [value] * 8 for name, value in scores.items()}))


def concluded(calibration: Table, test: Table) -> Outcome:
    return SMALL.conclude(pd.concat([calibration.assign(run="calibration"), test.assign(run="test")]))


def test_every_arm_spends_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    """An evaluation pair less at most, for a walk takes two a step."""
    model = use_rendered(monkeypatch)("portraits")
    latent, image = some_latent(model, asking("test", 1)), stored_methods(model, ["eim, not local"])[0].editor
    assert isinstance(image, EIM)
    costs = [one.editor(image.search, latent).evaluations(latent) for one in JointLatent().settings]
    assert max(costs) <= 28
    assert min(costs) >= 26


def test_the_setting_is_chosen_on_calibration_items() -> None:
    table = scored(joint=0.6, text=0.5, image=0.4)
    table.loc[table["method"].isin(["joint annealed at 0.9", "text at 0.9"]), "disentanglement"] = 0.8
    best = {"joint": "joint annealed at 0.9", "text": "text at 0.9", "image": "image one look"}
    assert chosen(table, SMALL.settings) == best
    assert chosen(table, SMALL.settings, ONE_LOOK)["joint"] == "joint one look at 0.5"
    assert len({one.name for one in SMALL.settings}) == len(SMALL.settings) == 8


def test_settings_are_chosen_on_calibration_items_and_compared_on_test_items() -> None:
    """On the calibration split one setting of each arm is best, on the test split another: that one is not taken."""
    calibration = scored(joint=0.5, text=0.5, image=0.5)
    first = {"joint": "joint annealed at 0.9", "text": "text at 0.9", "image": "image annealed"}
    calibration.loc[calibration["method"].isin(first.values()), "disentanglement"] = 0.9
    test = scored(joint=0.4, text=0.2, image=0.2)
    test.loc[test["method"].isin(["joint one look at 0.5", "text at 0.5", "image one look"]), "disentanglement"] = 1.0
    test.loc[test["method"] == "joint one look at 0.9", "disentanglement"] = 0.7
    found = concluded(calibration, test)
    numbers = {claim.measure: claim.estimate for claim in found.claims}
    assert numbers["joint gain, each arm at its best"] == pytest.approx(0.4 - 0.2)
    assert numbers["joint less image, each at its best"] == pytest.approx(0.4 - 0.2)
    assert numbers["joint gain, annealed, each arm at its best level"] == pytest.approx(0.4 - 0.2)
    assert numbers["joint gain, one look, each arm at its best level"] == pytest.approx(1.0 - 1.0)
    assert found.notes[0] == f"Best on the calibration split: {', '.join(first.values())}."


@pytest.mark.parametrize(
    ("joint", "verdict"), [(0.8, "holds"), (0.65, "does not hold"), (0.7, "undecided at this size")]
)
def test_the_gain_is_over_the_better_of_both(joint: float, verdict: str) -> None:
    """Text scores .7 on half of the items and .5 on the others, image the other way: the better one is .7 on all."""
    table = scored(joint=joint, text=0.7, image=0.7)
    low = table["item"].isin(["i00", "i01", "i02", "i03"])
    table.loc[low & table["method"].str.startswith("text"), "disentanglement"] = 0.5
    table.loc[~low & table["method"].str.startswith("image"), "disentanglement"] = 0.5
    found = concluded(table, table)
    numbers = {claim.measure: claim.estimate for claim in found.claims}
    assert found.claims[0].estimate == pytest.approx(joint - 0.7)
    assert found.claims[0].verdict == verdict
    assert numbers["joint less text, each at its best"] == pytest.approx(joint - 0.6)
    assert numbers["joint gain, one look, at level 0.9"] == pytest.approx(joint - 0.7)
    assert numbers["joint gain, stored settings of each arm"] == pytest.approx(0)


def test_a_missing_arm_is_no_gain() -> None:
    """An item without one arm's score has no maximum of two."""
    table = scored(joint=0.8, text=0.7, image=0.6)
    table.loc[(table["item"] == "i00") & table["method"].str.startswith("text"), "disentanglement"] = None
    claim = concluded(table, table).claims[0]
    assert claim.samples == 7
    assert claim.estimate == pytest.approx(0.1)
