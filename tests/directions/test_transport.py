import dataclasses
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from latentedit.core.errors import ConfigError, LatentEditError
from latentedit.directions.local_basis import LocalBasis, local_basis
from latentedit.directions.transport import DAMPING, Carried, feature_of, transport
from latentedit.latents.joint import JointLatent
from tests.directions.networks import NetworkBackbone, network_picture

LEVEL, STEPS = 0.6, 4


@pytest.fixture(scope="module")
def model() -> NetworkBackbone:
    return NetworkBackbone()


def basis_of(latent: JointLatent, *, rank: int = 6, level: float = LEVEL, site: str = "mid") -> LocalBasis:
    return local_basis(latent, site=site, rank=rank, level=level, steps=STEPS)


@pytest.fixture(scope="module")
def here(model: NetworkBackbone) -> LocalBasis:
    return basis_of(network_picture(model, 1))


@pytest.fixture(scope="module")
def there(model: NetworkBackbone) -> LocalBasis:
    return basis_of(network_picture(model, 2))


def displacement(carried: Carried) -> Tensor:
    """Of the latent at the level."""
    return (carried.direction.z * (1 - carried.direction.level)).flatten()


def jacobian(basis: LocalBasis) -> Tensor:
    """Of the feature at the basis, by autograd on the network itself."""
    model, text, level = basis.latent.backbone, basis.condition, torch.tensor([basis.level], dtype=torch.float64)
    top = basis.trace.top.clone()
    found: Any = torch.autograd.functional.jacobian(lambda z: model.features(z, level, text, basis.site), top)
    return found.reshape(basis.u[0].numel(), -1)


def test_the_negative_and_its_own_picture(here: LocalBasis, there: LocalBasis) -> None:
    for index in range(3):
        direction = here.direction(index, step=2.5)
        carried = transport(direction, here)
        assert carried.captured == pytest.approx(1, abs=1e-12)
        assert torch.allclose(carried.direction.z, direction.z, atol=1e-12)
        assert carried.direction.feature is not None
        assert torch.allclose(carried.direction.feature, here.u[index], atol=1e-12)
    direction = here.direction(2)
    assert direction.mean().feature is direction.feature  # of several pictures there is none, see test_base.py
    assert torch.allclose(transport(-direction, there).direction.z, -transport(direction, there).direction.z)


def test_it_makes_the_same_change_of_the_feature_as_far_as_it_can(here: LocalBasis, there: LocalBasis) -> None:
    """With all 6 directions of the target: J v is parallel to the projection of u, by the network's own derivative."""
    direction = here.direction(0, step=0.7)
    carried = transport(direction, there, damping=0.0)
    dense = jacobian(there)
    projection = dense @ torch.linalg.pinv(dense) @ here.u[0].flatten()
    made = dense @ displacement(carried)
    assert float(torch.nn.functional.cosine_similarity(made, projection, dim=0)) == pytest.approx(1, abs=1e-9)
    assert carried.captured == pytest.approx(float(projection.square().sum()), rel=1e-6)
    assert 0 < carried.captured < 1
    assert carried.chance == pytest.approx(6 / 9)
    assert float(displacement(carried).norm()) == pytest.approx(0.7)
    plain = transport(direction, there, inverse=False)
    assert not torch.allclose(displacement(plain), displacement(carried), atol=1e-3)


def test_what_it_says_of_itself(here: LocalBasis, there: LocalBasis) -> None:
    direction = dataclasses.replace(here.direction(1), notes=("a note",))
    carried = transport(direction, there, step=3.0)
    found = carried.direction
    assert (found.method, found.level, found.source_captions) == ("transport", LEVEL, ("",))
    assert dict(found.settings) == {
        "from": direction.fingerprint, "captured": carried.captured, "inverse": True, "damping": DAMPING,
        "site": "mid", "level": LEVEL, "steps": STEPS, "rank": 6, "seed": 0, "prompt": "", "step": 3.0,
    }  # fmt: skip
    assert float(displacement(carried).norm()) == pytest.approx(3)
    assert "a note" in found.notes
    assert not bool(found.condition.tokens.any())
    plain = transport(direction, there, inverse=False).direction.settings
    assert (plain["inverse"], plain["damping"]) == (False, None)


def test_across_levels_only_where_it_is_wanted(model: NetworkBackbone, here: LocalBasis) -> None:
    lower = basis_of(network_picture(model, 1), level=0.3)
    with pytest.raises(ConfigError, match=r"at level 0\.3, the direction at 0\.6\. Take the basis with level=0\.6"):
        transport(here.direction(0), lower)
    with pytest.raises(ConfigError, match=r"at level 0\.6, the direction at 0\.3"):
        transport(lower.direction(0), here)
    carried = transport(here.direction(0, step=0.5), lower, across_levels=True)
    assert carried.direction.level == 0.3
    assert float(carried.direction.length) * 0.7 == pytest.approx(0.5)
    nearly = dataclasses.replace(here.direction(0), level=LEVEL + 5e-7)
    assert transport(nearly, here).captured == pytest.approx(1)


def test_bad_requests_are_refused(here: LocalBasis, there: LocalBasis) -> None:
    direction = here.direction(0)
    unfit: list[dict[str, Any]] = [
        {"feature": None, "method": "hsds", "settings": {}},
        {"settings": {"site": 3}},
        {"z": direction.z.repeat(2, 1, 1)},
    ]
    for changes in unfit:
        with pytest.raises(ConfigError, match=r"`latentedit discover`; one found from text needs no transport"):
            transport(dataclasses.replace(direction, **changes), there)
        with pytest.raises(ConfigError, match="know its change"):
            feature_of(dataclasses.replace(direction, **changes))
    elsewhere, projected = basis_of(there.latent, site="clean"), dataclasses.replace(there, projected=True)
    outside = torch.linalg.svd(jacobian(there))[0][:, -1]
    for changes, basis, damping, words in (
        ({"model_fingerprint": "other"}, there, 0.1, "found in another model"),
        ({}, elsewhere, 0.1, r"site 'clean', the direction at 'mid'\. Take the basis with site='mid'"),
        ({"feature": torch.eye(3)}, there, 0.1, r"shape \[9\], those of the direction \[3, 3\]"),
        ({}, there, -0.1, "damping"),
        ({}, there, math.nan, "damping"),
        ({}, projected, 0.1, "projected"),
        ({"feature": outside}, there, 0.1, "nothing"),
    ):
        with pytest.raises(LatentEditError, match=words):
            transport(dataclasses.replace(direction, **changes), basis, damping=damping)
