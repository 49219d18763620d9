"""The forms cost what an edit may, and a joint form has to be nearer to what the model draws at no more error."""

import pandas as pd
import pytest
import torch

from latentedit_bench.experiments.joint_default import DECIDING, IMAGE, JOINT, JointDefault, forms, log_losses
from latentedit_bench.experiments.known_items import OTHER_PROGRAMS
from latentedit_bench.metrics.statistics import Table
from latentedit_bench.tuning.search_spaces import BUDGET
from tests.bench.rendered_network import prepared


def measured(off: dict[str, float], error: dict[str, float]) -> Table:
    """Rows of twelve items that differ a little, the same for all forms."""
    about = {"model": "portraits", "captions": "partial", "world": "portraits", "leakage": 0.1}
    return pd.DataFrame(
        {**about, "item": f"i{n}", "group": f"i{n}", "form": form, "off": off[form] + n / 1000, "error": error[form]}
        for n in range(12)
        for form in off
    )


@pytest.mark.parametrize(
    ("off", "error", "verdict"),
    [(0.1, 0.2, "holds"), (0.1, 0.21, "does not hold"), (0.4, 0.1, "does not hold")],
    ids=["nearer at equal error", "nearer at more error", "further"],
)
def test_nearer_at_no_more_error(off: float, error: float, verdict: str) -> None:
    names = [IMAGE, *JOINT]
    distances = {name: off if name == DECIDING else 0.3 for name in names}
    errors = {name: error if name == DECIDING else 0.2 for name in names}
    found = JointDefault(models=("portraits",)).conclude(measured(distances, errors))
    first = found.claims[0]
    assert first.verdict == verdict
    assert first.estimate == pytest.approx(0.3 - off)
    assert first.samples == 12
    assert found.claims[1].estimate == pytest.approx(0.2 - error)


def test_every_form_costs_as_much_and_the_joint_ones_search_less() -> None:
    latent = prepared().latent
    found = forms(latent.backbone, latent)
    assert list(found) == [IMAGE, *JOINT]
    for name, editor in found.items():
        assert BUDGET - 4 < editor.evaluations(latent) <= BUDGET, name
        assert (editor.arm, editor.level) == (("joint", JOINT[name]) if name in JOINT else (IMAGE, editor.level))
    assert {found[name].search.evaluations() for name in JOINT} == {16}
    assert found[IMAGE].search.evaluations() == BUDGET


def test_a_latent_that_the_model_expects_has_the_lower_loss() -> None:
    batch = prepared(2, reads=False)
    model, z = batch.latent.backbone, batch.latent.z
    with model.count() as counted:
        likely = log_losses(model, z, batch.latent.condition, seed=0)
    assert counted.evaluations == 2 * 2 * len(z)
    assert likely.shape == (2, len(z))
    assert torch.equal(likely, log_losses(model, z, batch.latent.condition, seed=0))


def test_other_programs_portraits_are_a_part() -> None:
    names = [part.name for part in JointDefault().parts]
    assert len(set(names)) == len(names) == 4
    assert [part.world for part in JointDefault().parts].count(OTHER_PROGRAMS) == 1
