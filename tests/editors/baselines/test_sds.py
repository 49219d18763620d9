import pytest
import torch

from latentedit.core.errors import ConfigError
from latentedit.core.rng import draw
from latentedit.editors.baselines.dds import random_levels
from latentedit.editors.baselines.sds import SDS
from latentedit.latents.joint import JointLatent
from latentedit.testing.gaussian_mixture import example_mixture
from latentedit.testing.tolerances import relative_error
from tests.directions.mixtures import levels_of, mixture_latent


@pytest.fixture
def latent() -> JointLatent:
    return mixture_latent(example_mixture(dimension=6))


def test_t9_it_is_the_residual_of_rectified_flow_times_one_minus_s(latent: JointLatent) -> None:
    """One step, against ``(1 - s) (v_w - (e - y))`` and against ``e_hat_w - e``, both written out under guidance."""
    backbone, target = latent.backbone, latent.backbone.embed(["c"])
    (s,) = random_levels(backbone, (0.95, 0.05), 1, seed=4, purpose="sds levels")
    e, at = draw((6,), seed=4, purpose="sds").to(latent.z), levels_of(latent.z, s)
    z = (1 - s) * latent.z + s * e
    empty = backbone.velocity(z, at, backbone.embed([""]))
    guided = empty + 3.0 * (backbone.velocity(z, at, target) - empty)
    found = latent.z - SDS(steps=1, step_size=0.2, guidance=3.0).edit(latent, target, [0.5], seed=4)[0].z
    assert relative_error(found, 0.1 * (1 - s) * (guided - (e - latent.z))) < 1e-12
    assert relative_error(found, 0.1 * (z + (1 - s) * guided - e)) < 1e-12
    assert relative_error(found, 0.1 * (guided - (e - latent.z))) > 1e-2


def test_under_one_gaussian_every_step_has_a_closed_form() -> None:
    """``e_hat = s C_s^-1 (y_s - (1 - s) mu)``, so the walk is a linear recursion that forgets the source text."""
    backbone = example_mixture(dimension=6)
    latent, target = mixture_latent(backbone, condition=backbone.only(0)), backbone.only(1)
    y, mean, covariance = latent.z, backbone.mixture.means[1], backbone.mixture.covariances[1]
    for index, s in enumerate(random_levels(backbone, (0.8, 0.2), 25, seed=1, purpose="sds levels")):
        noise = draw((6,), seed=1, purpose="sds", index=index).to(y)
        total = (1 - s) ** 2 * covariance + s**2 * torch.eye(6, dtype=y.dtype)
        shift = (1 - s) * (y - mean) + s * noise
        y = y - 0.15 * (s * torch.linalg.solve(total, shift.T).T - noise)
    editor = SDS(levels=(0.8, 0.2), steps=25, step_size=0.15, guidance=1.0)
    assert relative_error(editor.edit(latent, target, [1.0], seed=1)[0].z, y) < 1e-10
    # what it drifts to is the target's mean, picture or not: the spread of the pictures is lost
    far = SDS(steps=400, step_size=0.15, guidance=1.0).edit(latent, target, [1.0], seed=1)[0].z
    assert float(far.std(0).norm()) < 0.05 * float(latent.z.std(0).norm())


def test_negative_strengths_are_refused(latent: JointLatent) -> None:
    with pytest.raises(ConfigError, match="sds must be 0 or above"):
        SDS().edit(latent, latent.backbone.embed(["c"]), [-1.0])
