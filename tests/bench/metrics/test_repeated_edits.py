"""Ten instructions in a row on the miniature of an instruct model: what accumulates, and what does not."""

import pytest
import torch

import latentedit as le
from latentedit.core.errors import ShapeError
from latentedit.editors.baselines.sdedit import SDEdit
from latentedit.editors.baselines.velocity_steering import VelocitySteering
from latentedit.latents.instructions import WORDINGS
from latentedit.testing.miniatures.flux import flux
from latentedit_bench.metrics.repeated_edits import repeated_errors
from tests.api.test_instructed import HAT, SETTINGS, picture


@pytest.mark.nightly
def test_asked_for_nothing_ten_times_only_the_added_change_leaves_the_picture() -> None:
    """A random network repaints everything: sampling drifts further from the picture, what is added is exactly zero."""
    model = le.from_pipeline(flux(kontext=True), settings=SETTINGS)
    latent = le.encode(model, picture())
    answers = latent.z.expand(10, *latent.z.shape)
    nothing = [[WORDINGS[0]]] * 10
    added = repeated_errors(VelocitySteering(steps=2, probes=0), latent, nothing, answers)
    stock = repeated_errors(SDEdit(level=1.0, steps=2, guidance=2.5), latent, nothing, answers)
    assert torch.equal(added, torch.zeros(10, 1, dtype=torch.float64))
    assert bool((stock > 0.1).all())


@pytest.mark.nightly
def test_each_round_goes_on_from_the_one_before() -> None:
    """By hand for two rounds: the second sees, and starts from, what the first left."""
    model = le.from_pipeline(flux(kontext=True), settings=SETTINGS)
    latent, editor = le.encode(model, picture()), VelocitySteering(steps=2, probes=0)
    answers = torch.zeros(2, *latent.z.shape)
    found = repeated_errors(editor, latent, [[HAT], [HAT]], answers, seed=3)
    session = le.Session(latent)
    ((first,),) = session.edit(editor, (HAT,), [1.0], seed=3)
    ((second,),) = le.Session(first.latent).edit(editor, (HAT,), [1.0], seed=4)
    for error, result in zip(found, (first, second), strict=True):
        assert float(error) == pytest.approx(float(result.latent.z.square().mean().sqrt()), rel=1e-5)
    with pytest.raises(ShapeError, match="answers must be"):
        repeated_errors(editor, latent, [[HAT]], answers)
