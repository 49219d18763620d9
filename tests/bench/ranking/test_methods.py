"""A method edits as its editor does; eim looks for its direction once, and equal texts cost it nothing more."""

from collections.abc import Sequence

import pytest
import torch

from latentedit.directions.hsds import HSDS
from latentedit.editors.base import Editor
from latentedit.editors.baselines.sdedit import SDEdit
from latentedit.editors.eim import EIM
from latentedit.latents.joint import JointLatent
from latentedit.testing.gaussian_mixture import example_mixture
from latentedit.testing.tolerances import relative_error, tolerance
from latentedit_bench.ranking.methods import Method
from tests.directions.mixtures import mixture_latent

STRENGTHS = (0.5, 1.0, 2.0)
BATCH = tolerance("batch", torch.float64)
SEARCH = HSDS(steps=4)


@pytest.fixture
def latent() -> JointLatent:
    return mixture_latent(example_mixture(dimension=6))


def test_strengths_that_the_editor_refuses_are_left_out(latent: JointLatent) -> None:
    method = Method(name="sdedit", editor=SDEdit(level=0.7, steps=4, guidance=1.0))
    assert method.allowed(latent, [-1.0, 0.5, 1.0, 1.4, 1.5]) == [0.5, 1.0, 1.4]
    assert Method(name="eim", editor=EIM(search=SEARCH)).allowed(latent, [-1.0, 2.0]) == [-1.0, 2.0]


@pytest.mark.parametrize(
    "editor",
    [
        SDEdit(level=0.5, steps=4, guidance=1.0),
        *(EIM(search=SEARCH, arm=arm, steps=4) for arm in ("image", "text", "joint")),
    ],
    ids=["sdedit", "image", "text", "joint"],
)
def test_edits_are_those_of_the_editor(latent: JointLatent, editor: Editor) -> None:
    target = latent.backbone.embed(["c"])
    found = Method(name="x", editor=editor).edits(latent, target, STRENGTHS, seed=3)
    assert len(found) == len(STRENGTHS)
    for strength, z in zip(STRENGTHS, found, strict=True):
        expected = editor.edit(latent, target, [strength], seed=3)[0].z
        assert relative_error(z, expected) < BATCH
        assert relative_error(z, latent.z) > 1e-3


def test_eim_looks_for_its_direction_once(latent: JointLatent) -> None:
    """Its image arm evaluates nothing else up to strength 1; an editor that is called three times pays three times."""
    backbone, target = latent.backbone, latent.backbone.embed(["c"])

    def spent(editor: Editor, strengths: Sequence[float]) -> float:
        with backbone.count() as counted:
            Method(name="x", editor=editor).edits(latent, target, strengths, seed=0)
        return counted.evaluations / len(latent)

    eim, sdedit = EIM(search=SEARCH), SDEdit(level=0.5, steps=4, guidance=1.0)
    assert spent(eim, [0.25, 0.5, 1.0]) == SEARCH.evaluations()
    assert spent(sdedit, [1.0, 1.0, 1.0]) == 3 * sdedit.evaluations(latent)
