from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from latentedit.core.errors import ConfigError
from latentedit_portraits.fitting import FitSettings, fit, load_average, load_half, recipe_of, save_half

SETTINGS = FitSettings(steps=40, batch=16, learning_rate=1e-2, warm_up=5, weight_decay=0.01, checkpoint_seconds=0.0)


def network() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 1))


def train(folder: Path, *, killed_at: int | None = None) -> tuple[nn.Module, list[float]]:
    net, losses = network(), list[float]()

    def loss(step: int, generator: torch.Generator) -> Tensor:
        if step == killed_at:
            raise KeyboardInterrupt
        x = torch.randn(16, 4, generator=generator)
        value = (net(x) - x.sum(dim=1, keepdim=True)).square().mean()
        losses.append(value.item())
        return value

    fit("net", net, loss, SETTINGS, folder, log=lambda _: None)
    return net, losses


def test_training_lowers_the_loss(tmp_path: Path) -> None:
    _, losses = train(tmp_path)
    assert losses[-1] < 0.5 * losses[0]


def test_a_killed_run_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    whole, _ = train(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "killed", killed_at=20)
    resumed, losses = train(tmp_path / "killed")
    assert len(losses) == 20
    for a, b in zip(whole.state_dict().values(), resumed.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_a_finished_run_is_not_repeated(tmp_path: Path) -> None:
    first, _ = train(tmp_path)
    again, losses = train(tmp_path)
    assert losses == []
    assert torch.equal(first[0].weight, again[0].weight)


def test_the_average_of_a_checkpoint_is_what_training_leaves(tmp_path: Path) -> None:
    trained, _ = train(tmp_path)
    looked_at = network()
    assert load_average("net", looked_at, tmp_path) == SETTINGS.steps
    for a, b in zip(trained.parameters(), looked_at.parameters(), strict=True):
        assert torch.equal(a, b)


def test_the_rate_rises_stays_and_falls() -> None:
    settings = FitSettings(steps=100, batch=1, learning_rate=1.0, warm_up=10, decay_share=0.2)
    assert settings.rate(0) == pytest.approx(0.1)
    assert settings.rate(50) == 1.0
    assert settings.rate(90) == pytest.approx(0.5)
    assert settings.rate(99) == pytest.approx(0.05)


def test_weights_in_half_precision_come_back_to_its_rounding(tmp_path: Path) -> None:
    """Eleven bits of mantissa: a relative error of 2^-11; counters, which are whole numbers, come back as they were."""
    first, second = train(tmp_path / "run")[0], network()
    save_half(first, tmp_path / "made" / "net.safetensors")
    load_half(second, tmp_path / "made" / "net.safetensors")
    for name, value in first.state_dict().items():
        found = second.state_dict()[name]
        assert found.dtype == value.dtype
        assert torch.allclose(found, value, rtol=2**-11, atol=2**-24)
    assert int(second.state_dict()["1.num_batches_tracked"]) == int(first.state_dict()["1.num_batches_tracked"]) > 0


def test_a_recipe_is_found_by_its_name() -> None:
    assert recipe_of({"cpu": 1, "gpu": 2}, "gpu") == 2
    with pytest.raises(ConfigError, match="got 'gpux': did you mean 'gpu'"):
        recipe_of({"cpu": 1, "gpu": 2}, "gpux")
