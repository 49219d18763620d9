"""Networks that some of PIE-Bench's numbers need: whether this machine has their weights, and how to get them."""

import dataclasses
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, cast

import torch
from huggingface_hub import try_to_load_from_cache
from jaxtyping import Float
from torch import Tensor
from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

from latentedit.core.errors import ModelError, RegistryError, nearest
from latentedit_bench.metrics.pie_bench import Perceptual

_HUB_WEIGHTS = ("model.safetensors", "pytorch_model.bin")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """A network's files.

    Args:
        what: the network, in words.
        get: the command that fetches them.
        repository: on the Hugging Face hub; empty for those of torchvision.
        checkpoint: file in the cache of ``torch.hub``; empty for those of the hub.
    """

    what: str
    get: str
    repository: str = ""
    checkpoint: str = ""

    def missing(self) -> str:
        """Why the network cannot be had here; empty where it can. Nothing is fetched."""
        if self.repository:
            found = any(isinstance(try_to_load_from_cache(self.repository, name), str) for name in _HUB_WEIGHTS)
            return "" if found else f"the weights of {self.what} are not on this machine"
        if importlib.util.find_spec("torchvision") is None:
            return f"{self.what} needs the package torchvision, which is not installed"
        found = (Path(torch.hub.get_dir()) / "checkpoints" / self.checkpoint).is_file()
        return "" if found else f"the weights of {self.what} are not on this machine"


def _torchvision(name: str, what: str, checkpoint: str) -> Weights:
    get = f"pip install torchvision && python -c \"import torchvision; torchvision.models.{name}(weights='DEFAULT')\""
    return Weights(what=what, get=get, checkpoint=checkpoint)


def _hub(repository: str, what: str) -> Weights:
    return Weights(what=what, get=f"hf download {repository}", repository=repository)


SQUEEZENET = _torchvision("squeezenet1_1", "SqueezeNet (LPIPS)", "squeezenet1_1-b8a52dc0.pth")
ALEXNET = _torchvision("alexnet", "AlexNet (LPIPS)", "alexnet-owt-7be5be79.pth")
CLIP = _hub("openai/clip-vit-large-patch14", "CLIP ViT-L/14")
DINO = _hub("facebook/dino-vitb8", "DINO ViT-B/8")

NEEDED: Mapping[str, Weights | None] = {
    "structure_distance": DINO,
    "background_psnr_db": None,
    "background_lpips": SQUEEZENET,
    "background_mse": None,
    "background_ssim": None,
    "clip_whole": CLIP,
    "clip_edited": CLIP,
    "background_lpips_alexnet": ALEXNET,
}
"""Every number, in the order of PIE-Bench's tables, and the network that it needs, if any."""


def available() -> dict[str, str]:
    """Each number of `NEEDED` and why it cannot be had on this machine; an empty text where it can."""
    return {name: "" if needed is None else needed.missing() for name, needed in NEEDED.items()}


def require_weights(name: str) -> None:
    """Go on if the weights that a number needs are on this machine.

    Raises:
        RegistryError: no number of that name.
        ModelError: they are not; with how to get them.
    """
    if name not in NEEDED:
        raise RegistryError(f"expected a number of PIE-Bench; got {name!r}: {nearest(name, NEEDED)}")
    needed = NEEDED[name]
    if needed is not None and (why := needed.missing()):
        raise ModelError(f"expected what {name} needs; {why}. Run: {needed.get}")


def lpips_network(net: Literal["squeeze", "alex"]) -> Perceptual:
    """LPIPS over one network, from files of this machine only.

    Raises:
        ModelError: the weights are not there; with how to get them.
    """
    require_weights("background_lpips" if net == "squeeze" else "background_lpips_alexnet")
    metric = cast(Any, LearnedPerceptualImagePatchSimilarity(net_type=net))

    @torch.no_grad()
    def distances(a: Float[Tensor, "b 3 h w"], b: Float[Tensor, "b 3 h w"]) -> Float[Tensor, " b"]:
        on_device = metric.to(a.device)
        found = [on_device(one[None].clamp(-1, 1), other[None].clamp(-1, 1)) for one, other in zip(a, b, strict=True)]
        metric.reset()
        return torch.stack(found).reshape(-1)

    return distances
