"""The training loop of all networks: resumable, with the same batches after an interruption.

The functions ``fit_...`` of this folder train a network in place by `Trainer.fit`, and return its seconds of training.
"""

import dataclasses
import json
import math
import time
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from latentedit.core import ConfigError, Progress, make_folder, write_text
from latentedit.numerics import half_or_float32, stream
from research.training.folder import explain_write_errors

_CLIP = 1.0  # maximum norm of the gradient

LossFunction = Callable[[int, torch.Generator], Tensor]
"""The loss of one step, given its number and the generator for its random numbers."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class FitSettings:
    """Training settings of one network.

    Args:
        steps: number of optimizer steps.
        batch_size: images per step.
        learning_rate: learning rate between warmup and decay.
        warmup_steps: steps in which the learning rate rises linearly.
        decay_fraction: last share of the steps, in which the learning rate falls linearly to zero.
        weight_decay: weight decay of AdamW.
        ema_decay: decay of the exponential moving average of the weights.
        checkpoint_seconds: seconds between two checkpoints.
    """

    steps: int
    batch_size: int
    learning_rate: float
    warmup_steps: int = 200
    decay_fraction: float = 0.3
    weight_decay: float = 0.0
    ema_decay: float = 0.999
    checkpoint_seconds: float = 120.0

    def learning_rate_at(self, step: int) -> float:
        """Learning rate of a step: linear warmup, plateau, linear decay."""
        decay_steps = max(1, round(self.decay_fraction * self.steps))
        rise = min(1.0, (step + 1) / max(1, self.warmup_steps))
        return self.learning_rate * rise * min(1.0, (self.steps - step) / decay_steps)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Training plan of a model.

    Args:
        images: number of training images.
        recolored: number of additional portraits in other colors.
        views: number of the framer's training images.
        reconstructed: number of reconstructions by the codec that the classifier also learns from.
        provenance: whether the bundled weights were trained by this plan, or how otherwise.
        fits: settings of each network or stage.
    """

    images: int
    recolored: int = 0
    views: int = 0
    reconstructed: int = 0
    provenance: str
    fits: Mapping[str, FitSettings]


def read_plans() -> dict[str, Plan]:
    """The plans of all models, from ``recipes.toml``."""
    tables = tomllib.loads(Path(__file__).with_name("recipes.toml").read_text("utf-8"))
    return {
        name: Plan(
            fits={stage: FitSettings(**fit) for stage, fit in table.items() if isinstance(fit, dict)},
            **{key: value for key, value in table.items() if not isinstance(value, dict)},
        )
        for name, table in tables.items()
    }


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Trainer:
    """Trains networks on a device, with checkpoints in a folder.

    Args:
        folder: folder for checkpoints and for cached renders and latents.
        device: device of the networks.
        progress: called after each step.
        log: called with one line per checkpoint.
    """

    folder: Path
    device: torch.device
    progress: Progress | None = None
    log: Callable[[str], None] = print

    def init_folder(self, name: str, plan: Plan) -> None:
        """Write a model's plan into the folder, whose caches and checkpoints are only valid for this plan.

        Raises:
            ConfigError: the folder contains another plan.
            OutputError: the folder cannot be written to.
        """
        path = self.folder / "plan.json"
        text = json.dumps({"name": name, **dataclasses.asdict(plan)}, indent=1) + "\n"
        if path.exists() and path.read_text("utf-8") != text:
            raise ConfigError(f"{self.folder} was started with another recipe. Use another folder")
        make_folder(self.folder)
        write_text(path, text)

    def report_progress(self, what: str, done: int, total: int) -> None:
        """Call ``progress``, if there is one."""
        if self.progress is not None:
            self.progress(what, done, total)

    def fit(
        self,
        name: str,
        network: nn.Module,
        loss: LossFunction,
        settings: FitSettings,
        *,
        orthogonalized: Sequence[nn.Parameter] = (),
    ) -> float:
        """Train a network in place; its final weights are the averaged ones.

        A second call resumes from ``folder/{name}.checkpoint.safetensors``, and returns at once if training had ended.

        Args:
            name: name of the checkpoint.
            network: the network; all parameters that require gradients are trained.
            loss: the loss of one step.
            settings: steps, learning rate and others.
            orthogonalized: matrices that Muon trains instead of AdamW.

        Returns:
            Seconds of training, over all calls.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        parameters = _trained(network)
        state = _State(
            network=network,
            optimizers=_optimizers(network, settings, orthogonalized),
            average=[parameter.detach().clone() for parameter in parameters],
        )
        path = self.folder / f"{name}.checkpoint.safetensors"
        first, spent = state.restore(path) if path.exists() else (0, 0.0)
        started = saved_at = time.perf_counter()
        running = math.nan
        for step in range(first, settings.steps):
            value = loss(step, stream(seed=0, purpose=f"fit/{name}", index=step))
            state.update(value, settings, step)
            if step % 10 == 0:
                running = value.item() if math.isnan(running) else running + 0.1 * (value.item() - running)
            self.report_progress(name, step + 1, settings.steps)
            now = time.perf_counter()
            if now - saved_at > settings.checkpoint_seconds or step + 1 == settings.steps:
                saved_at = now
                state.save(path, step + 1, spent + now - started)
                pace = (step + 1 - first) * settings.batch_size / (now - started)
                self.log(f"{name}: step {step + 1}/{settings.steps}  loss {running:.5f}  {pace:.1f} images/s")
        with torch.no_grad():
            for parameter, mean in zip(parameters, state.average, strict=True):
                parameter.copy_(mean)
        return spent + time.perf_counter() - started


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _State:
    """The state of a training: weights, their moving averages, the optimizers' moments."""

    network: nn.Module
    optimizers: Sequence[torch.optim.Optimizer]
    average: Sequence[Tensor]

    def update(self, value: Tensor, settings: FitSettings, step: int) -> None:
        """One optimizer step, and an update of the moving averages."""
        parameters = _trained(self.network)
        self.network.zero_grad(set_to_none=True)
        value.backward()
        nn.utils.clip_grad_norm_(parameters, _CLIP)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = settings.learning_rate_at(step)
            optimizer.step()
        decay = min(settings.ema_decay, (1 + step) / (10 + step))
        with torch.no_grad():
            for mean, parameter in zip(self.average, parameters, strict=True):
                mean.lerp_(parameter, 1 - decay)

    def save(self, path: Path, step: int, seconds: float) -> None:
        """Write a checkpoint, under a temporary name first; weights with two names are written twice.

        Raises:
            OutputError: the folder cannot be written to, or the disk is full.
        """
        tensors = {f"network/{name}": value for name, value in self.network.state_dict().items()}
        tensors |= {f"average/{index}": value for index, value in enumerate(self.average)}
        for number, optimizer in enumerate(self.optimizers):
            for index, moments in optimizer.state_dict()["state"].items():
                tensors |= {f"optimizer {number}/{index}/{name}": value for name, value in moments.items()}
        partial = path.with_suffix(".partial")
        contiguous = {
            name: value.detach().clone(memory_format=torch.contiguous_format) for name, value in tensors.items()
        }
        try:
            with explain_write_errors(path):
                save_file(contiguous, partial, metadata={"step": str(step), "seconds": str(seconds)})
                partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)

    @torch.no_grad()
    def restore(self, path: Path) -> tuple[int, float]:
        """Load a checkpoint; returns its number of steps and their seconds."""
        with safe_open(path, framework="pt", device=str(self.average[0].device)) as file:
            names, metadata = list(file.keys()), file.metadata()
            weights = {name.removeprefix("network/"): name for name in names if name.startswith("network/")}
            self.network.load_state_dict({name: file.get_tensor(key) for name, key in weights.items()})
            for index, mean in enumerate(self.average):
                mean.copy_(file.get_tensor(f"average/{index}"))
            for number, optimizer in enumerate(self.optimizers):
                parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
                for name in names:
                    if name.startswith(f"optimizer {number}/"):
                        _, index, moment = name.split("/")
                        parameter, value = parameters[int(index)], file.get_tensor(name)
                        if value.shape == parameter.shape:  # fused steps pair elements by memory layout
                            value = torch.empty_like(parameter).copy_(value)
                        optimizer.state[parameter][moment] = value
        return int(metadata["step"]), float(metadata["seconds"])


def _trained(network: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in network.parameters() if parameter.requires_grad]


def _optimizers(
    network: nn.Module, settings: FitSettings, orthogonalized: Sequence[nn.Parameter]
) -> list[torch.optim.Optimizer]:
    """AdamW, with weight decay only for matrices, and Muon at the same rate, in bfloat16 (slow without AVX-512)."""
    excluded = {id(parameter) for parameter in orthogonalized}
    others = [parameter for parameter in _trained(network) if id(parameter) not in excluded]
    groups = [
        {"params": [item for item in others if item.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [item for item in others if item.ndim <= 1], "weight_decay": 0.0},
    ]
    rate = settings.learning_rate
    optimizers: list[torch.optim.Optimizer] = [torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.98), fused=True)]
    if orthogonalized:
        muon = torch.optim.Muon(orthogonalized, rate, settings.weight_decay, ns_steps=4, adjust_lr_fn="match_rms_adamw")
        optimizers.append(muon)
    return optimizers


def mixed_precision(device: torch.device) -> torch.autocast:
    """An autocast context to bfloat16, enabled on devices where it is faster (`half_or_float32`)."""
    return torch.autocast(device.type, torch.bfloat16, enabled=half_or_float32(device) == torch.bfloat16)
