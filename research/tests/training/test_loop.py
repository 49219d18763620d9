import dataclasses
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from latentedit.core import ConfigError, OutputError
from latentedit.numerics import seeded
from research.tests.training.runs import trainer_in
from research.training import loop
from research.training.loop import FitSettings, Plan

SETTINGS = FitSettings(
    steps=40, batch_size=16, learning_rate=1e-2, warmup_steps=5, weight_decay=0.01, checkpoint_seconds=0.0
)


def network() -> nn.Module:
    """A network in another memory format than checkpoints, to which moments must be matched."""
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

    trainer_in(folder).fit("net", net, loss, SETTINGS)
    return net, losses


@pytest.mark.nightly
def test_a_resumed_training_gives_the_same_weights_and_a_finished_one_is_not_repeated(tmp_path: Path) -> None:
    complete, losses = train(tmp_path / "complete")
    assert losses[-1] < 0.5 * losses[0]
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "killed", killed_at=20)
    resumed, losses = train(tmp_path / "killed")
    assert len(losses) == 20
    again, losses = train(tmp_path / "killed")
    assert losses == []
    for other in (resumed, again):
        for a, b in zip(complete.state_dict().values(), other.state_dict().values(), strict=True):
            assert torch.equal(a, b)


def test_a_full_disk_is_reported_and_keeps_the_last_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, checkpoint = loop.save_file, tmp_path / "net.checkpoint.safetensors"

    def full(tensors: dict[str, Tensor], path: Path, metadata: dict[str, str]) -> None:
        if metadata["step"] == "3":
            path.write_bytes(b"half")
            raise SafetensorError("I/O error: No space left on device (os error 28)")
        real(tensors, path, metadata=metadata)

    with monkeypatch.context() as patched:
        patched.setattr(loop, "save_file", full)
        with pytest.raises(OutputError, match=r"net\.checkpoint\.safetensors"):
            train(tmp_path)
    assert list(tmp_path.iterdir()) == [checkpoint], "no partial file is left on a full disk"
    _, losses = train(tmp_path)
    assert len(losses) == SETTINGS.steps - 2


def test_the_learning_rate_has_warmup_plateau_and_decay() -> None:
    settings = FitSettings(steps=100, batch_size=1, learning_rate=1.0, warmup_steps=10, decay_fraction=0.2)
    assert settings.learning_rate_at(0) == pytest.approx(0.1)
    assert settings.learning_rate_at(50) == 1.0
    assert settings.learning_rate_at(90) == pytest.approx(0.5)
    assert settings.learning_rate_at(99) == pytest.approx(0.05)


def test_a_folder_with_another_plan_is_rejected(tmp_path: Path) -> None:
    """Its cached latents would be of other images or of another codec."""
    plan = Plan(images=2, provenance="", fits={"net": SETTINGS})
    for _ in range(2):
        trainer_in(tmp_path).init_folder("one", plan)
    for name, other in (("other", plan), ("one", dataclasses.replace(plan, images=3))):
        with pytest.raises(ConfigError):
            trainer_in(tmp_path).init_folder(name, other)
