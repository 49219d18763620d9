import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from latentedit.core.errors import ModelError, RegistryError
from latentedit_bench.metrics import pie_bench_weights
from latentedit_bench.metrics.pie_bench_weights import ALEXNET, CLIP, NEEDED, available, lpips_network, require_weights

PLAIN = ["background_psnr_db", "background_mse", "background_ssim"]


@pytest.fixture
def bare_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """torchvision is installed; no weights are there. Gives the cache of torch.hub."""
    monkeypatch.setattr(pie_bench_weights, "try_to_load_from_cache", lambda repository, name: None)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    (tmp_path / "checkpoints").mkdir()
    return tmp_path / "checkpoints"


def test_without_weights_three_numbers_are_left_and_the_rest_say_why(bare_machine: Path) -> None:
    found = available()
    assert list(found) == list(NEEDED)
    assert [name for name, why in found.items() if not why] == PLAIN
    assert "CLIP ViT-L/14 are not on this machine" in found["clip_edited"]
    assert "DINO ViT-B/8 are not on this machine" in found["structure_distance"]
    for name in PLAIN:
        require_weights(name)


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("clip_whole", "hf download openai/clip-vit-large-patch14"),
        ("structure_distance", "hf download facebook/dino-vitb8"),
        ("background_lpips", "pip install torchvision.*squeezenet1_1"),
        ("background_lpips_alexnet", "pip install torchvision.*alexnet"),
    ],
)
def test_asking_for_one_tells_its_name_and_how_to_get_it(bare_machine: Path, name: str, command: str) -> None:
    with pytest.raises(ModelError, match=rf"{name} needs.*{command}"):
        require_weights(name)


def test_without_torchvision_it_is_named(bare_machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "torchvision, which is not installed" in available()["background_lpips"]
    with pytest.raises(ModelError, match="torchvision"):
        lpips_network("alex")


def test_an_unknown_number_is_told_with_the_nearest() -> None:
    with pytest.raises(RegistryError, match="did you mean 'clip_whole'"):
        require_weights("clip_hole")


def test_weights_that_are_there_are_found(bare_machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (bare_machine / ALEXNET.checkpoint).write_bytes(b"")
    assert available()["background_lpips_alexnet"] == ""
    assert available()["background_lpips"] != ""

    def cached(repository: str, name: str) -> Any:
        """The hub answers with a path, or with an object where it knows that there is no such file."""
        return "file" if (repository, name) == (CLIP.repository, "pytorch_model.bin") else object()

    monkeypatch.setattr(pie_bench_weights, "try_to_load_from_cache", cached)
    assert available()["clip_whole"] == available()["clip_edited"] == ""
    assert available()["structure_distance"] != ""


def test_the_network_is_asked_picture_by_picture(bare_machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a stand-in of torchmetrics' interface: its value is a mean over the batch."""

    class StandIn:
        def __init__(self, net_type: str) -> None:
            assert net_type == "alex"

        def to(self, device: torch.device) -> "StandIn":
            return self

        def __call__(self, a: Tensor, b: Tensor) -> Tensor:
            assert min(a.min(), b.min()) >= -1
            return (a - b).abs().mean()

        def reset(self) -> None:
            pass

    (bare_machine / ALEXNET.checkpoint).write_bytes(b"")
    monkeypatch.setattr(pie_bench_weights, "LearnedPerceptualImagePatchSimilarity", StandIn)
    a, b = torch.zeros(2, 3, 4, 4), torch.stack([torch.zeros(3, 4, 4), torch.full((3, 4, 4), -1.0001)])
    assert lpips_network("alex")(a, b).tolist() == [0, 1]
