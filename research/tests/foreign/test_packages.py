"""Both packages of networks that others trained, from PyPI: pinned, installed into a folder of their own, and used."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from latentedit import Backbone, edit_latent, encode, local_basis
from latentedit.core import ConfigError
from latentedit.models import FeatureJacobian, FeatureMap, GuidedField
from latentedit.numerics import EulerSolver, draw, integrate, stream, truncated_svd
from latentedit.testing import BackboneContract
from research.foreign.galaxies import galaxy_backbone, telescopes_backbone, trained
from research.foreign.terrain import LEVEL, terrain_backbone, terrain_network

pytestmark = pytest.mark.nightly


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder into which pip installs them."""
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


class TestTerrain:
    def test_difficulty_raises_the_ground_and_so_does_an_edit(self, packages: Path) -> None:
        model = terrain_backbone(terrain_network(packages))
        noise = LEVEL * draw(model.latent_shape(0, 0), seed=1, purpose="sample")[None]
        with torch.no_grad():
            easy, hard = (
                integrate(
                    GuidedField(backbone=model, condition=model.embed([text])), noise, (LEVEL, 0.0), EulerSolver()
                )
                for text in ("10", "90")
            )
        (edited,) = edit_latent(model, easy, model.embed(["10"]), model.embed(["90"]), editor="flowedit")
        assert float(hard.mean()) > float(easy.mean()) + 0.1
        assert float(edited.z.mean()) > float(easy.mean()) + 0.1

    def test_local_basis_of_the_middle(self, packages: Path) -> None:
        model = terrain_backbone(terrain_network(packages))
        z = drawn(model, "50", 1)
        with pytest.raises(ConfigError, match="no level below"):  # an image cannot be carried up to its only level
            local_basis(encode(model, z, source_prompt="50"), site="mid", rank=1, steps=1, progress=False)
        noisy = (1 - LEVEL) * z + LEVEL * draw(z.shape, seed=2, purpose="noise")
        feature = FeatureMap(backbone=model, site="mid", level=LEVEL, condition=model.embed(["50"]))
        basis = truncated_svd(FeatureJacobian(feature, noisy), 1, generator=stream(0, "basis"))
        assert basis.converged
