import pytest

from latentedit.core.errors import ConfigError
from latentedit.core.rng import draw
from latentedit.editors.baselines.sdedit import SDEdit
from latentedit.latents.joint import JointLatent
from latentedit.testing.gaussian_mixture import example_mixture
from latentedit.testing.tolerances import relative_error
from tests.directions.mixtures import mixture_latent


@pytest.fixture
def latent() -> JointLatent:
    backbone = example_mixture(dimension=6)
    return mixture_latent(backbone, condition=backbone.only(0))


@pytest.mark.parametrize("strength", [0.5, 0.83])
def test_starts_at_the_share_of_its_level_and_follows_the_targets_flow(latent: JointLatent, strength: float) -> None:
    """Under one Gaussian the flow has a closed form; Euler with 400 steps is within a per cent of it."""
    start = 0.8 * strength
    found = SDEdit(level=0.8, steps=400, guidance=1.0).edit(latent, latent.backbone.only(1), [strength], seed=3)[0].z
    noise = draw((6,), seed=3, purpose="sdedit").to(latent.z)
    noisy = (1 - start) * latent.z + start * noise
    assert relative_error(found, latent.backbone.flow_map(noisy, start, 0.0, 1)) < 1e-2
    assert relative_error(found, latent.backbone.flow_map(noisy, start - 0.1, 0.0, 1)) > 2e-2


@pytest.mark.parametrize("strength", [-0.1, 1.5])
def test_refuses_strengths_that_are_no_level(latent: JointLatent, strength: float) -> None:
    with pytest.raises(ConfigError, match=r"from 0 to 1\.25"):
        SDEdit(level=0.8).edit(latent, latent.backbone.only(1), [strength])
