from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from latentedit.core.errors import OutputError
from latentedit.core.rng import seeded
from latentedit_portraits import fitting
from latentedit_portraits.fitting import FitSettings, load_half, save_half
from latentedit_portraits.framer import PortraitFramer, build_framer
from latentedit_portraits.reader import PortraitReader, build_reader
from tests.portraits.runs import run_in

SETTINGS = FitSettings(steps=40, batch=16, learning_rate=1e-2, warm_up=5, weight_decay=0.01, checkpoint_seconds=0.0)


def network() -> nn.Module:
    with seeded(0):
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

    run_in(folder).fit("net", net, loss, SETTINGS)
    return net, losses


@pytest.mark.nightly
def test_training_lowers_the_loss(tmp_path: Path) -> None:
    _, losses = train(tmp_path)
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.nightly
def test_a_killed_run_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    whole, _ = train(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "killed", killed_at=20)
    resumed, losses = train(tmp_path / "killed")
    assert len(losses) == 20
    for a, b in zip(whole.state_dict().values(), resumed.state_dict().values(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.nightly
def test_a_killed_run_of_another_memory_format_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    """Checkpoints are in the usual format; moments of another one than the weights' would be paired wrongly."""

    def fitted(folder: Path, *, killed_at: int | None = None) -> Tensor:
        with seeded(0):
            net = nn.Conv2d(3, 4, 3)
        nn.Module.to(net, memory_format=torch.channels_last)

        def loss(step: int, generator: torch.Generator) -> Tensor:
            if step == killed_at:
                raise KeyboardInterrupt
            return net(torch.randn(2, 3, 5, 5, generator=generator)).square().mean()

        run_in(folder).fit("net", net, loss, SETTINGS)
        return net.weight

    whole = fitted(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        fitted(tmp_path / "killed", killed_at=20)
    assert torch.equal(fitted(tmp_path / "killed"), whole)


@pytest.mark.slow
def test_a_full_disk_is_told_and_keeps_the_last_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, place = fitting.save_file, tmp_path / "net.checkpoint.safetensors"

    def full(tensors: dict[str, Tensor], path: Path, metadata: dict[str, str]) -> None:
        if metadata["step"] == "3":
            path.write_bytes(b"half")
            raise SafetensorError("I/O error: No space left on device (os error 28)")
        real(tensors, path, metadata=metadata)

    with monkeypatch.context() as patched:
        patched.setattr(fitting, "save_file", full)
        with pytest.raises(
            OutputError, match=r"net.checkpoint.safetensors cannot be written: I/O error: No space left"
        ):
            train(tmp_path)
    assert list(tmp_path.iterdir()) == [place], "nothing half written is left on a disk that is full"
    _, losses = train(tmp_path)
    assert len(losses) == SETTINGS.steps - 2


@pytest.mark.nightly
def test_a_finished_run_is_not_repeated(tmp_path: Path) -> None:
    first, _ = train(tmp_path)
    again, losses = train(tmp_path)
    assert losses == []
    assert torch.equal(first[0].weight, again[0].weight)


def test_the_rate_rises_stays_and_falls() -> None:
    settings = FitSettings(steps=100, batch=1, learning_rate=1.0, warm_up=10, decay_share=0.2)
    assert settings.rate(0) == pytest.approx(0.1)
    assert settings.rate(50) == 1.0
    assert settings.rate(90) == pytest.approx(0.5)
    assert settings.rate(99) == pytest.approx(0.05)


@pytest.mark.nightly
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


@pytest.mark.parametrize(
    ("kind", "build", "side"), [(PortraitReader, build_reader, 128), (PortraitFramer, build_framer, 64)]
)
@torch.no_grad()
def test_readers_and_framers_come_back(kind: Any, build: Any, side: int, tmp_path: Path) -> None:
    kind(build(0).eval()).save(tmp_path)
    pixels = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    found = kind.from_folder(tmp_path).network(pixels)
    assert torch.allclose(found, build(0).eval()(pixels), atol=5e-3)
    assert not torch.allclose(found, build(1).eval()(pixels), atol=5e-3)
