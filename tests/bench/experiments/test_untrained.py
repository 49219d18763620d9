import pytest
import torch

from latentedit.models.registry import load
from latentedit_bench.experiments.pictures import untrained_twin


def weights(model: object) -> dict[str, torch.Tensor]:
    return model._network.state_dict()  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["pixels-discs", *(pytest.param(one, marks=pytest.mark.nightly) for one in ("portraits", "portraits-unet"))]
)
def test_a_twin_is_the_same_network_with_other_weights(name: str) -> None:
    """The same seed gives the same weights, another one others; texts, codec and schedule are the model's own."""
    model, *twins = load(name, device="cpu"), *(untrained_twin(name, seed=seed, device="cpu") for seed in (20, 20, 21))
    twin, trained, (first, same, other) = twins[0], weights(model), map(weights, twins)
    assert {key: value.shape for key, value in trained.items()} == {key: value.shape for key, value in first.items()}
    assert all(torch.equal(value, same[key]) for key, value in first.items())
    drawn = [key for key, value in first.items() if value.ndim > 1 and "pos_embed" not in key]
    assert drawn
    assert not any(torch.equal(first[key], trained[key]) or torch.equal(first[key], other[key]) for key in drawn)
    assert twin.grid(28).levels == model.grid(28).levels
    assert (twin.sites, twin.default_site) == (model.sites, model.default_site)
    assert torch.equal(twin.embed(["a person"]).tokens, model.embed(["a person"]).tokens)
    z = model.encode(torch.zeros(1, 3, *[64 if name.startswith("pixels") else 128] * 2))
    s = torch.tensor([0.5])
    assert not torch.allclose(twin.velocity(z, s, twin.embed([""])), model.velocity(z, s, model.embed([""])))
    assert (twin.name, twin.fingerprint != model.fingerprint) == (f"{name}, untrained", True)
