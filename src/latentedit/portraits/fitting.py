"""One training loop for all bundled networks: resumable after a kill, the same batches whatever the interruptions."""

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from latentedit.noise.rng import stream
from latentedit.types import Progress

LossFunction = Callable[[int, torch.Generator], Tensor]
"""The loss of one step, given its number and the generator from which all of its random numbers come."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class FitSettings:
    """How long and how fast one network is trained.

    Args:
        steps: optimiser steps in all.
        batch: pictures a step.
        learning_rate: the plateau's.
        warm_up: steps of linear rise.
        decay_share: the last share of the steps, in which the rate falls linearly to zero.
        weight_decay: AdamW's.
        average: decay of the exponential moving average of the weights.
        clip: largest norm of the gradient.
        checkpoint_seconds: between two checkpoints.
        seed: of batches, noise and initial weights.
    """

    steps: int
    batch: int
    learning_rate: float
    warm_up: int = 200
    decay_share: float = 0.3
    weight_decay: float = 0.0
    average: float = 0.999
    clip: float = 1.0
    checkpoint_seconds: float = 120.0
    seed: int = 0

    def rate(self, step: int) -> float:
        """Learning rate of a step: linear warm-up, plateau, linear decay."""
        decay_steps = max(1, round(self.decay_share * self.steps))
        rise = min(1.0, (step + 1) / max(1, self.warm_up))
        return self.learning_rate * rise * min(1.0, (self.steps - step) / decay_steps)


def fit(
    name: str,
    network: nn.Module,
    loss: LossFunction,
    settings: FitSettings,
    folder: Path,
    *,
    orthogonalized: Sequence[nn.Parameter] = (),
    progress: Progress | None = None,
    log: Callable[[str], None] = print,
) -> float:
    """Train a network in place and leave the averaged weights in it.

    Progress is kept in ``folder/{name}.checkpoint.safetensors``; a second call goes on where the first was killed, and
    returns at once where it had ended.

    Args:
        name: of the checkpoint.
        network: its parameters are trained.
        loss: of one step.
        settings: steps, rate and the rest.
        folder: for the checkpoint.
        orthogonalized: matrices that Muon trains instead of AdamW.
        progress: called after each step.
        log: gets a line a checkpoint.

    Returns:
        Seconds of training, all calls together.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = _path(folder, name)
    parameters = _trained(network)
    optimizers = _optimizers(network, settings, orthogonalized)
    average = [parameter.detach().clone() for parameter in parameters]
    first, spent, running = 0, 0.0, math.nan
    if path.exists():
        first, spent = _restore(path, network, optimizers, average)
    started = saved_at = time.perf_counter()
    for step in range(first, settings.steps):
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = settings.rate(step)
        value = loss(step, stream(seed=settings.seed, purpose=f"fit/{name}", index=step))
        network.zero_grad(set_to_none=True)
        value.backward()
        nn.utils.clip_grad_norm_(parameters, settings.clip)
        for optimizer in optimizers:
            optimizer.step()
        _follow(average, parameters, min(settings.average, (1 + step) / (10 + step)))
        if step % 10 == 0:
            last = value.item()
            running = last if math.isnan(running) else running + 0.1 * (last - running)
        if progress is not None:
            progress(name, step + 1, settings.steps)
        now = time.perf_counter()
        if now - saved_at > settings.checkpoint_seconds or step + 1 == settings.steps:
            saved_at = now
            _save(path, network, optimizers, average, step + 1, spent + now - started)
            pace = (step + 1 - first) * settings.batch / (now - started)
            log(f"{name}: step {step + 1}/{settings.steps}  loss {running:.5f}  {pace:.1f} pictures/s")
    _put(average, parameters)
    return spent + time.perf_counter() - started


def load_average(name: str, network: nn.Module, folder: Path) -> int:
    """Put the averaged weights of the latest checkpoint into a network, to look at it before training ends.

    Returns:
        The number of steps behind the checkpoint.
    """
    parameters = _trained(network)
    step, _ = _restore(_path(folder, name), network, (), parameters)
    return step


@torch.no_grad()
def _follow(average: Sequence[Tensor], parameters: Sequence[Tensor], decay: float) -> None:
    for mean, parameter in zip(average, parameters, strict=True):
        mean.lerp_(parameter, 1 - decay)


@torch.no_grad()
def _put(average: Sequence[Tensor], parameters: Sequence[Tensor]) -> None:
    for mean, parameter in zip(average, parameters, strict=True):
        parameter.copy_(mean)


def _path(folder: Path, name: str) -> Path:
    return folder / f"{name}.checkpoint.safetensors"


def _trained(network: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in network.parameters() if parameter.requires_grad]


def _optimizers(
    network: nn.Module, settings: FitSettings, orthogonalized: Sequence[nn.Parameter]
) -> list[torch.optim.Optimizer]:
    """AdamW, with weight decay for matrices only, and Muon at the same rate (its steps scaled to AdamW's size)."""
    special = {id(parameter) for parameter in orthogonalized}
    usual = [parameter for parameter in _trained(network) if id(parameter) not in special]
    groups = [
        {"params": [item for item in usual if item.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [item for item in usual if item.ndim <= 1], "weight_decay": 0.0},
    ]
    rate = settings.learning_rate
    found: list[torch.optim.Optimizer] = [torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.98), fused=True)]
    if orthogonalized:
        muon = torch.optim.Muon(
            orthogonalized, lr=rate, weight_decay=settings.weight_decay, adjust_lr_fn="match_rms_adamw", ns_steps=4
        )
        found.append(muon)
    return found


def _save(
    path: Path,
    network: nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
    average: Sequence[Tensor],
    step: int,
    seconds: float,
) -> None:
    """Weights, their averages and the optimiser's moments in one file, written beside and renamed."""
    tensors = {f"network/{name}": value for name, value in network.state_dict().items()}
    tensors |= {f"average/{index}": value for index, value in enumerate(average)}
    for number, optimizer in enumerate(optimizers):
        for index, state in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer {number}/{index}/{name}": value for name, value in state.items()}
    partial = path.with_suffix(".partial")
    whole = {name: value.detach().contiguous() for name, value in tensors.items()}
    save_file(whole, partial, metadata={"step": str(step), "seconds": str(seconds)})
    partial.replace(path)


@torch.no_grad()
def _restore(
    path: Path, network: nn.Module, optimizers: Sequence[torch.optim.Optimizer], average: Sequence[Tensor]
) -> tuple[int, float]:
    """Put a checkpoint back; the averages go into ``average``, after the weights.

    Returns:
        The number of steps done, and the seconds they took.
    """
    with safe_open(path, framework="pt", device=str(average[0].device)) as file:
        names = list(file.keys())
        network.load_state_dict({n.removeprefix("network/"): file.get_tensor(n) for n in names if n[0] == "n"})
        for index, mean in enumerate(average):
            mean.copy_(file.get_tensor(f"average/{index}"))
        for number, optimizer in enumerate(optimizers):
            state: dict[int, dict[str, Tensor]] = {}
            for name in names:
                if name.startswith(f"optimizer {number}/"):
                    _, index, moment = name.split("/")
                    state.setdefault(int(index), {})[moment] = file.get_tensor(name)
            optimizer.load_state_dict(optimizer.state_dict() | {"state": state})
        metadata = file.metadata()
    return int(metadata["step"]), float(metadata["seconds"])
