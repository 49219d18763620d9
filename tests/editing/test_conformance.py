"""Identities between editors: T9 and T10 of the conformance list."""

import pytest
import torch

from latentedit.editing.base import Editor
from latentedit.editing.eim import EIM
from latentedit.editing.flowedit import FlowEdit
from latentedit.editing.inversion import AlignedInversion
from latentedit.encoding.joint import JointLatent
from latentedit.noise.rng import draw
from latentedit.solvers.euler import EulerSolver
from latentedit.testing.gaussian_mixture import example_mixture
from latentedit.testing.tolerances import relative_error
from tests.directions.mixtures import levels_of, mixture_latent


@pytest.fixture
def latent() -> JointLatent:
    return mixture_latent(example_mixture(dimension=6))


@pytest.mark.parametrize(("s", "s_next"), [(0.9, 0.7), (0.3, 0.0), (0.4, 0.6)])
def test_t9_asyrps_rule_without_an_edit_is_an_euler_step(latent: JointLatent, s: float, s_next: float) -> None:
    """``(1 - s') x_hat + s' e_hat``, with both estimates in closed form."""
    posterior = latent.backbone.at(latent.z, levels_of(latent.z, s), latent.condition)
    e_hat = latent.z + (1 - s) * posterior.velocity
    asyrp = (1 - s_next) * posterior.clean + s_next * e_hat
    euler = EulerSolver().step(lambda z, at: latent.backbone.velocity(z, at, latent.condition), latent.z, s, s_next)
    assert relative_error(asyrp, euler) < 1e-12
    swapped = (1 - s_next) * e_hat + s_next * posterior.clean
    assert relative_error(swapped, euler) > 1e-2


@pytest.mark.parametrize("s", [0.1, 0.5, 0.95])
def test_t9_sds_on_the_noise_is_the_weighted_velocity_residual(latent: JointLatent, s: float) -> None:
    """``e_hat - e == (1 - s) (v - (e - y))``; e_hat from the score, v from the network."""
    e = draw((6,), seed=0, purpose="sds").to(latent.z)
    z = (1 - s) * latent.z + s * e
    posterior = latent.backbone.at(z, levels_of(z, s), latent.condition)
    noise_residual = -s * posterior.score - e
    v = latent.backbone.velocity(z, levels_of(z, s), latent.condition)
    assert relative_error((1 - s) * (v - (e - latent.z)), noise_residual) < 1e-11
    assert relative_error(v - (e - latent.z), noise_residual) > 1e-2


@pytest.mark.parametrize(
    "editor",
    [
        EIM(steps=4),
        EIM(arm="text", manipulate_steps=6),
        EIM(arm="joint", steps=1, manipulate_steps=6),
        AlignedInversion(steps=6),
        FlowEdit(steps=6, target_guidance=1.0),
    ],
    ids=["image", "text", "joint", "aligned-inversion", "flowedit"],
)
def test_t10_the_sign_flips_the_edit_to_first_order(latent: JointLatent, editor: Editor) -> None:
    """The even part of the edit is of second order: 100 times smaller strength, 100 times smaller share."""
    target = latent.backbone.embed(["c"])

    def even_share(strength: float) -> float:
        forth = editor.edit(latent, target, strength=strength) - latent.z
        back = editor.edit(latent, target, strength=-strength) - latent.z
        return float(torch.linalg.vector_norm(forth + back) / torch.linalg.vector_norm(forth - back))

    assert even_share(1e-2) < 0.1
    assert even_share(1e-4) < 2e-2 * even_share(1e-2) + 1e-10
