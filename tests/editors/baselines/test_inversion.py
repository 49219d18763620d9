import pytest
import torch

from latentedit.editors.base import Editor
from latentedit.editors.baselines.inversion import AlignedInversion, Inversion
from latentedit.latents.joint import JointLatent
from latentedit.testing.gaussian_mixture import example_mixture
from latentedit.testing.tolerances import relative_error
from tests.directions.mixtures import mixture_latent


@pytest.fixture
def latent() -> JointLatent:
    backbone = example_mixture(dimension=6, shared_covariance=True)
    return mixture_latent(backbone, condition=backbone.only(0))


@pytest.mark.parametrize("editor", [Inversion(steps=100), AlignedInversion(steps=100)])
def test_the_whole_path_with_shared_covariance_is_the_counterfactual(latent: JointLatent, editor: Editor) -> None:
    truth = latent.backbone.counterfactual(latent.z, 0, 1)
    assert relative_error(editor.edit(latent, latent.backbone.only(1), [1.0])[0].z, truth) < 5e-2
    assert relative_error(latent.z, truth) > 0.2


def test_with_two_covariances_it_is_the_flow_up_and_down() -> None:
    backbone = example_mixture(dimension=6)
    latent = mixture_latent(backbone, condition=backbone.only(0))
    truth = backbone.flow_map(backbone.flow_map(latent.z, 0.0, 0.6, 0), 0.6, 0.0, 1)
    assert relative_error(Inversion(steps=400, level=0.6).edit(latent, backbone.only(1), [1.0])[0].z, truth) < 2e-2


def test_only_the_aligned_way_back_is_exact(latent: JointLatent) -> None:
    aligned = AlignedInversion(steps=10).edit(latent, latent.condition, [1.0])[0].z
    assert torch.equal(aligned, latent.z)
    assert relative_error(Inversion(steps=10).edit(latent, latent.condition, [1.0])[0].z, latent.z) > 1e-3
