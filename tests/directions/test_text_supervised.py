"""Text-supervised directions in closed form, their sense, and their cost."""

import pytest
import torch

from latentedit.core.errors import ConfigError, ShapeError
from latentedit.directions.at_level import clean_share, lives_at_level
from latentedit.directions.text_supervised import text_supervised
from latentedit.editors.walks.latent_walk import LatentWalk
from latentedit.latents.inversion import invert
from latentedit.latents.joint import JointLatent
from latentedit.testing.gaussian_mixture import example_mixture
from latentedit.testing.tolerances import relative_error, tolerance
from tests.directions.mixtures import clean_at, levels_of, mixture_latent, times


@pytest.fixture
def latent() -> JointLatent:
    return mixture_latent(example_mixture(dimension=6, latent=(2, 3, 1)))


def test_it_is_the_transposed_jacobian_of_the_estimate_times_its_change(latent: JointLatent) -> None:
    backbone, trace = latent.backbone, invert(latent, latent.path(10, 0.6))
    target, top = backbone.embed(["b"] * 3), trace.top
    mask = torch.tensor([[True], [False], [True]])
    change = (clean_at(backbone, top, 0.6, target) - clean_at(backbone, top, 0.6, latent.condition)) * mask
    jacobian = torch.eye(6).double() - 0.6 * backbone.at(top, levels_of(top, 0.6), target).jacobian
    v = times(jacobian.mT, change)
    v = v / torch.linalg.vector_norm(v.flatten(1), dim=1)[:, None, None, None]
    with backbone.count() as cost:
        fine = mask.repeat_interleave(2, 0).repeat_interleave(2, 1)  # a mask of pixels
        found = text_supervised(latent, trace, ["b"] * 3, steps=10, mask=fine, step=0.5)
    assert cost.evaluations / len(latent) == 4
    assert relative_error(found.z, 0.5 * v / clean_share(0.6)) < tolerance("derivative", torch.float64)
    whole = text_supervised(latent, trace, ["b"] * 3, steps=10, step=0.5)
    assert relative_error(found.z, whole.z) > 0.1
    assert (found.method, found.level, len(found)) == ("text-supervised pullback", trace.levels[-1], 3)
    assert found.settings["steps"] == 10
    assert lives_at_level(found)
    assert found.target_captions == ()


def test_its_pictures_are_likelier_under_the_target(latent: JointLatent) -> None:
    trace = invert(latent, latent.path(20, 0.7))
    direction = text_supervised(latent, trace, ["b"] * 3, steps=20)
    v = direction.row(0).z * clean_share(direction.level)
    first = JointLatent(
        backbone=latent.backbone, z=latent.z[:1], condition=latent.condition[:1], captions=latent.captions[:1]
    )
    moved = LatentWalk().edit(
        first, invert(first, first.path(20, 0.7)), v, torch.tensor([[-0.5], [0.0], [0.5]]).double()
    )[:, 0, 0]
    log = latent.backbone.at(moved, levels_of(moved, 0.5), latent.backbone.embed([""])).weights[:, 1].log().tolist()
    assert log[0] < log[1] < log[2]


def test_what_makes_no_sense_is_refused(latent: JointLatent) -> None:
    trace = invert(latent, latent.path(4, 0.6))
    with pytest.raises(ConfigError, match=r"changes the picture at level 0.6; got 'a'"):
        text_supervised(latent, trace, ["a"] * 3)
    with pytest.raises(ConfigError, match="larger mask"):
        text_supervised(latent, trace, ["b"] * 3, mask=torch.zeros(3, 1, dtype=torch.bool))
    with pytest.raises(ShapeError, match="a mask in whole multiples of 3 x 1; got 2 x 2"):
        text_supervised(latent, trace, ["b"] * 3, mask=torch.ones(2, 2, dtype=torch.bool))
    with pytest.raises(ShapeError, match="one target caption a picture"):
        text_supervised(latent, trace, ["b"])
