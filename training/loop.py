"""The training loop of all networks: resumable after a kill, the same batches whatever the interruptions.

The functions ``fit_...`` of this folder train their network in place by `Training.fit`, and give the seconds of
training, all calls together.
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

from latentedit.core.errors import ConfigError
from latentedit.core.progress import Progress
from latentedit.core.rng import stream
from latentedit.models.placement import half_or_float32
from latentedit_keep.files import make_folder, write_text
from training.folder import explain_write_errors

_CLIP = 1.0  # largest norm of the gradient

LossFunction = Callable[[int, torch.Generator], Tensor]
"""The loss of one step, given its number and the generator from which all of its random numbers come."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class FitSettings:
    """How long and how fast one network is trained.

    Args:
        steps: optimizer steps in all.
        batch: images a step.
        learning_rate: the plateau's.
        warm_up: steps of linear rise.
        decay_share: the last share of the steps, in which the rate falls linearly to zero.
        weight_decay: AdamW's.
        average: decay of the exponential moving average of the weights.
        checkpoint_seconds: between two checkpoints.
    """

    steps: int
    batch: int
    learning_rate: float
    warm_up: int = 200
    decay_share: float = 0.3
    weight_decay: float = 0.0
    average: float = 0.999
    checkpoint_seconds: float = 120.0

    def rate(self, step: int) -> float:
        """Learning rate of a step: linear warm-up, plateau, linear decay."""
        decay_steps = max(1, round(self.decay_share * self.steps))
        rise = min(1.0, (step + 1) / max(1, self.warm_up))
        return self.learning_rate * rise * min(1.0, (self.steps - step) / decay_steps)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How a model is trained.

    Args:
        images: different training images.
        recolored: beside them, portraits in colors that their attributes do not have.
        views: images that the framer learns from.
        reconstructed: images of the codec that the classifier learns from.
        made: whether the bundled weights come of it, or how they came about otherwise.
        fits: name of each network to its settings.
    """

    images: int
    recolored: int = 0
    views: int = 0
    reconstructed: int = 0
    made: str
    fits: Mapping[str, FitSettings]


def read_plans() -> dict[str, Plan]:
    """The plan of each model, from ``recipes.toml``."""
    tables = tomllib.loads(Path(__file__).with_name("recipes.toml").read_text("utf-8"))
    return {
        name: Plan(
            fits={stage: FitSettings(**fit) for stage, fit in table.items() if isinstance(fit, dict)},
            **{key: value for key, value in table.items() if not isinstance(value, dict)},
        )
        for name, table in tables.items()
    }


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """Where networks are trained, and who hears of it.

    Args:
        folder: for checkpoints, renders and latents, which are kept and never made again.
        device: of the networks.
        progress: called after each step.
        log: gets a line a checkpoint.
    """

    folder: Path
    device: torch.device
    progress: Progress | None = None
    log: Callable[[str], None] = print

    def begin(self, name: str, plan: Plan) -> None:
        """Write down a model's plan: the folder's images, latents and checkpoints fit no other.

        Raises:
            ConfigError: the folder was begun by another one.
            OutputError: it cannot be written to.
        """
        place = self.folder / "plan.json"
        told = json.dumps({"name": name, **dataclasses.asdict(plan)}, indent=1) + "\n"
        if place.exists() and place.read_text("utf-8") != told:
            raise ConfigError(f"{self.folder} is trained by another recipe. Name another folder")
        make_folder(self.folder)
        write_text(place, told)

    def tell(self, what: str, done: int, total: int) -> None:
        """Report progress, where somebody listens."""
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
        """Train a network in place and leave the averaged weights in it.

        Checkpoints go to ``folder/{name}.checkpoint.safetensors``; a second call goes on where the first was killed,
        and returns at once where it had ended.

        Args:
            name: of the checkpoint.
            network: its parameters are trained.
            loss: of one step.
            settings: steps, rate and the rest.
            orthogonalized: matrices that Muon trains instead of AdamW.

        Returns:
            Seconds of training, all calls together.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        parameters = _trained(network)
        run = _Run(
            network=network,
            optimizers=_optimizers(network, settings, orthogonalized),
            average=[parameter.detach().clone() for parameter in parameters],
        )
        path = self.folder / f"{name}.checkpoint.safetensors"
        first, spent = run.restore(path) if path.exists() else (0, 0.0)
        started = saved_at = time.perf_counter()
        running = math.nan
        for step in range(first, settings.steps):
            value = loss(step, stream(seed=0, purpose=f"fit/{name}", index=step))
            run.update(value, settings, step)
            if step % 10 == 0:
                running = value.item() if math.isnan(running) else running + 0.1 * (value.item() - running)
            self.tell(name, step + 1, settings.steps)
            now = time.perf_counter()
            if now - saved_at > settings.checkpoint_seconds or step + 1 == settings.steps:
                saved_at = now
                run.save(path, step + 1, spent + now - started)
                pace = (step + 1 - first) * settings.batch / (now - started)
                self.log(f"{name}: step {step + 1}/{settings.steps}  loss {running:.5f}  {pace:.1f} images/s")
        with torch.no_grad():
            for parameter, mean in zip(parameters, run.average, strict=True):
                parameter.copy_(mean)
        return spent + time.perf_counter() - started


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Run:
    """What changes while a network is trained: weights, their averages, the optimizers' moments."""

    network: nn.Module
    optimizers: Sequence[torch.optim.Optimizer]
    average: Sequence[Tensor]

    def update(self, value: Tensor, settings: FitSettings, step: int) -> None:
        """One step down the loss, and one of the averages after the weights."""
        parameters = _trained(self.network)
        self.network.zero_grad(set_to_none=True)
        value.backward()
        nn.utils.clip_grad_norm_(parameters, _CLIP)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = settings.rate(step)
            optimizer.step()
        decay = min(settings.average, (1 + step) / (10 + step))
        with torch.no_grad():
            for mean, parameter in zip(self.average, parameters, strict=True):
                mean.lerp_(parameter, 1 - decay)

    def save(self, path: Path, step: int, seconds: float) -> None:
        """Everything in one file, written beside and renamed; weights that have two names are written twice.

        Raises:
            OutputError: the place cannot be written to, or the disk is full.
        """
        tensors = {f"network/{name}": value for name, value in self.network.state_dict().items()}
        tensors |= {f"average/{index}": value for index, value in enumerate(self.average)}
        for number, optimizer in enumerate(self.optimizers):
            for index, state in optimizer.state_dict()["state"].items():
                tensors |= {f"optimizer {number}/{index}/{name}": value for name, value in state.items()}
        partial = path.with_suffix(".partial")
        whole = {name: value.detach().clone(memory_format=torch.contiguous_format) for name, value in tensors.items()}
        try:
            with explain_write_errors(path):
                save_file(whole, partial, metadata={"step": str(step), "seconds": str(seconds)})
                partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)

    @torch.no_grad()
    def restore(self, path: Path) -> tuple[int, float]:
        """Put a checkpoint back.

        Returns:
            The number of steps done, and the seconds they took.
        """
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
                        if value.shape == parameter.shape:  # fused steps pair numbers by their place in memory
                            value = torch.empty_like(parameter).copy_(value)
                        optimizer.state[parameter][moment] = value
        return int(metadata["step"]), float(metadata["seconds"])


def _trained(network: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in network.parameters() if parameter.requires_grad]


def _optimizers(
    network: nn.Module, settings: FitSettings, orthogonalized: Sequence[nn.Parameter]
) -> list[torch.optim.Optimizer]:
    """AdamW, with weight decay for matrices only, and Muon at its rate, in bfloat16, slow without AVX-512."""
    special = {id(parameter) for parameter in orthogonalized}
    usual = [parameter for parameter in _trained(network) if id(parameter) not in special]
    groups = [
        {"params": [item for item in usual if item.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [item for item in usual if item.ndim <= 1], "weight_decay": 0.0},
    ]
    rate = settings.learning_rate
    found: list[torch.optim.Optimizer] = [torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.98), fused=True)]
    if orthogonalized:
        muon = torch.optim.Muon(orthogonalized, rate, settings.weight_decay, ns_steps=4, adjust_lr_fn="match_rms_adamw")
        found.append(muon)
    return found


def mixed_precision(device: torch.device) -> torch.autocast:
    """A context: operations that allow it in bfloat16, on devices that gain by it (`half_or_float32`)."""
    return torch.autocast(device.type, torch.bfloat16, enabled=half_or_float32(device) == torch.bfloat16)
