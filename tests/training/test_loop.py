import dataclasses
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from latentedit.core.errors import ConfigError, OutputError
from latentedit.core.rng import seeded
from tests.training.runs import run_in
from training import loop
from training.loop import FitSettings, Plan

SETTINGS = FitSettings(steps=40, batch=16, learning_rate=1e-2, warm_up=5, weight_decay=0.01, checkpoint_seconds=0.0)


def network() -> nn.Module:
    """Of a memory format that checkpoints do not have: moments must be paired with weights all the same."""
    with seeded(0):
        net = nn.Sequential(nn.Conv2d(4, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Conv2d(8, 1, 3, padding=1))
    nn.Module.to(net, memory_format=torch.channels_last)
    return net


def train(folder: Path, *, killed_at: int | None = None) -> tuple[nn.Module, list[float]]:
    net, losses = network(), list[float]()

    def loss(step: int, generator: torch.Generator) -> Tensor:
        if step == killed_at:
            raise KeyboardInterrupt
        x = torch.randn(16, 4, 5, 5, generator=generator)
        value = (net(x) - x.sum(dim=1, keepdim=True)).square().mean()
        losses.append(value.item())
        return value

    run_in(folder).fit("net", net, loss, SETTINGS)
    return net, losses


@pytest.mark.nightly
def test_a_killed_run_goes_on_to_the_same_weights_and_a_finished_one_is_not_repeated(tmp_path: Path) -> None:
    whole, losses = train(tmp_path / "whole")
    assert losses[-1] < 0.5 * losses[0]
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "killed", killed_at=20)
    resumed, losses = train(tmp_path / "killed")
    assert len(losses) == 20
    again, losses = train(tmp_path / "killed")
    assert losses == []
    for other in (resumed, again):
        for a, b in zip(whole.state_dict().values(), other.state_dict().values(), strict=True):
            assert torch.equal(a, b)


@pytest.mark.slow
def test_a_full_disk_is_told_and_keeps_the_last_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, place = loop.save_file, tmp_path / "net.checkpoint.safetensors"

    def full(tensors: dict[str, Tensor], path: Path, metadata: dict[str, str]) -> None:
        if metadata["step"] == "3":
            path.write_bytes(b"half")
            raise SafetensorError("I/O error: No space left on device (os error 28)")
        real(tensors, path, metadata=metadata)

    with monkeypatch.context() as patched:
        patched.setattr(loop, "save_file", full)
        with pytest.raises(
            OutputError, match=r"net.checkpoint.safetensors cannot be written: I/O error: No space left"
        ):
            train(tmp_path)
    assert list(tmp_path.iterdir()) == [place], "nothing half written is left on a disk that is full"
    _, losses = train(tmp_path)
    assert len(losses) == SETTINGS.steps - 2


def test_the_rate_rises_stays_and_falls() -> None:
    settings = FitSettings(steps=100, batch=1, learning_rate=1.0, warm_up=10, decay_share=0.2)
    assert settings.rate(0) == pytest.approx(0.1)
    assert settings.rate(50) == 1.0
    assert settings.rate(90) == pytest.approx(0.5)
    assert settings.rate(99) == pytest.approx(0.05)


def test_a_folder_of_another_plan_is_refused(tmp_path: Path) -> None:
    """Its latents are of other images in another order, and of another codec."""
    plan = Plan(images=2, made="", fits={"net": SETTINGS})
    for _ in range(2):
        run_in(tmp_path).begin("one", plan)
    for name, other in (("other", plan), ("one", dataclasses.replace(plan, images=3))):
        with pytest.raises(ConfigError, match="is trained by another recipe"):
            run_in(tmp_path).begin(name, other)
