"""The same noise through the stock pipeline and through latentedit, whatever the family.

The pipeline is called as its users call it, and draws its own noise. Its scheduler is watched: the latents that go into
the first step are the start, those that come out of the last step the result. latentedit starts at the same latents,
in its own coordinates, and integrates its own guided velocity by Euler's method.

Euler's method is what `FlowMatchEulerDiscreteScheduler` does for flows and `DDIMScheduler` for networks that predict
noise. A pipeline with another sampler (PNDM, DPM-Solver, ancestral Euler) gets one of these two for the comparison,
with its own betas or shift, and has its own again afterwards: the sampler is no part of what is compared.
"""

import contextlib
import inspect
import math
import time
from collections.abc import Callable, Generator, Mapping
from typing import Any

import diffusers
import torch
from PIL import Image
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from latentedit import Backbone
from latentedit.core import ConfigError, ModelError
from latentedit.models import FlowBackbone, GuidedField, unpack
from latentedit.numerics import EulerSolver, integrate

OFFSETS = {"ZImagePipeline": 1.0, "Krea2Pipeline": 1.0}
"""Guidance weight of latentedit minus ``guidance_scale``, where a pipeline counts from the conditional velocity."""

PLAIN: Mapping[str, Any] = {"use_resolution_binning": False, "enable_cfg_renorm": False, "enable_prompt_rewrite": False}
"""Arguments of pipelines that do more than sample: other sizes, another norm, another prompt."""

ROUNDINGS: Mapping[str, Callable[[Tensor, torch.dtype], Tensor]] = {
    "1000 s": lambda s, dtype: (1000 * s).to(dtype).to(s) / 1000,
    "s": lambda s, dtype: s.to(dtype).to(s),
    "1000 s, then s": lambda s, dtype: ((1000 * s).to(dtype) / 1000).to(s),
}
"""How pipelines round a network's time at level s to its dtype, by the family; latentedit does not round times."""

Stock = tuple[Tensor, Tensor, Image.Image]
"""Latents at the start and at the end, in the pipeline's own form, and the image of the pipeline."""


@contextlib.contextmanager
def euler(pipeline: Any) -> Generator[str]:
    """Give the pipeline a sampler that is Euler's method on its own levels; yields a sentence on what was done.

    Raises:
        ConfigError: the sampler draws noise at each step, so that no start determines the result.
    """
    own, config = pipeline.scheduler, pipeline.scheduler.config
    name = type(own).__name__
    if name == "FlowMatchEulerDiscreteScheduler" and not config.get("stochastic_sampling"):
        yield f"The pipeline's own sampler, {name}, was used."
        return
    if config.get("use_flow_sigmas") or name.startswith("FlowMatch"):
        shift = config.get("flow_shift", config.get("shift", 1.0))
        made: Any = diffusers.FlowMatchEulerDiscreteScheduler(shift=shift)
    elif "beta_start" in config and name != "SCMScheduler":
        spacing = config.get("timestep_spacing")
        made = diffusers.DDIMScheduler.from_config(
            config,
            clip_sample=False,
            thresholding=False,
            set_alpha_to_one=True,
            timestep_spacing=spacing if spacing in ("leading", "trailing") else "leading",
        )
    else:
        raise ConfigError(f"the sampler {name} draws new noise at each step. Compare the teacher of this model instead")
    pipeline.scheduler = made
    try:
        yield f"The pipeline's sampler {name} was replaced by {type(made).__name__} with the same settings."
    finally:
        pipeline.scheduler = own


def run_stock(pipeline: Any, model: Backbone, prompt: str, *, steps: int, seed: int, rows: int = 1) -> Stock:
    """The first of ``rows`` equal images of the stock pipeline, at the model's preferred size and guidance.

    Args:
        pipeline: of diffusers, under `euler`.
        model: of latentedit, for its size and guidance weight.
        prompt: one text.
        steps: number of sampling steps.
        seed: of the starting noise, drawn on the CPU.
        rows: number of equal images that are drawn at once.

    Cost:
        ``rows * steps`` evaluations, twice as many with two branches of guidance.
    """
    side, known = model.capabilities.sizes[1], model.capabilities
    parameters = inspect.signature(type(pipeline).__call__).parameters
    given: dict[str, Any] = {name: value for name, value in PLAIN.items() if name in parameters}
    if "true_cfg_scale" in parameters and known.guidance_kind != "embedded":
        given |= {"true_cfg_scale": known.guidance, "negative_prompt": ""} if known.guidance != 1 else {}
    elif "guidance_scale" in parameters:
        given["guidance_scale"] = known.guidance - OFFSETS.get(type(pipeline).__name__, 0.0)
    if type(pipeline).__name__ == "FluxPipeline" and known.guidance_kind == "none":
        given["max_sequence_length"] = 256  # the card of FLUX.1 schnell says so
    generators = [torch.Generator().manual_seed(seed) for _ in range(rows)]
    with _watched(pipeline.scheduler) as seen:
        output = pipeline(
            prompt=[prompt] * rows if rows > 1 else prompt,
            height=side,
            width=side,
            num_inference_steps=steps,
            generator=generators if rows > 1 else generators[0],
            output_type="pil",
            **given,
        )
    return seen[0][:1], seen[-1][:1], output.images[0].convert("RGB")


@contextlib.contextmanager
def _watched(scheduler: Any) -> Generator[list[Tensor]]:
    """The latents before the first step of a scheduler and after each of its steps."""
    seen, step = list[Tensor](), scheduler.step

    def watched(model_output: Tensor, timestep: Any, sample: Tensor, *rest: Any, **named: Any) -> Any:
        if not seen:
            seen.append(sample.detach().float().clone())
        output = step(model_output, timestep, sample, *rest, **named)
        seen.append((output[0] if isinstance(output, tuple) else output.prev_sample).detach().float().clone())
        return output

    scheduler.step = watched
    try:
        yield seen
    finally:
        del scheduler.step


def canonical(latents: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Latents in the form of a pipeline (plain, 2 x 2 packed, flattened, video) as ``[b, *shape]``, from their shape.

    Raises:
        ConfigError: a form that is none of these.
    """
    channels, height, width = shape
    if latents.ndim == 3 and tuple(latents.shape[1:]) == (height * width // 4, 4 * channels):
        return unpack(latents, (height // 2, width // 2))
    if latents.ndim == 3 and tuple(latents.shape[1:]) == (height * width, channels):
        return latents.transpose(1, 2).unflatten(2, (height, width))
    if latents[0].numel() == math.prod(shape) and channels in latents.shape[1:3]:
        return latents.reshape(len(latents), *shape)
    raise ConfigError(f"latents {list(latents.shape)} of the pipeline are of no known form of {list(shape)}")


@torch.no_grad()
def run_ours(model: Backbone, prompt: str, start: Tensor, *, steps: int, rounding: str = "") -> Tensor:
    """Latents ``[1, *latent]`` at the end of latentedit's own sampling, from the first latents of the stock pipeline.

    Args:
        model: of latentedit.
        prompt: one text.
        start: ``[1, *latent]``, `canonical` latents in the scale of the pipeline: ``alpha x + sigma e`` for networks
            that predict noise, with ``alpha^2 + sigma^2 = 1``.
        steps: number of sampling steps.
        rounding: one of `ROUNDINGS`, which the times at which the network is evaluated undergo; "" is none.

    Cost:
        ``steps`` evaluations, twice as many with two branches of guidance.
    """
    side, known = model.capabilities.sizes[1], model.capabilities
    grid = model.grid(steps, height_px=side, width_px=side)
    first = grid.levels[0]
    field = GuidedField(
        backbone=model,
        condition=model.embed([prompt]),
        guidance=known.guidance,
        renormalized=known.guidance_kind == "renormalized",
    )

    def at_rounded(z: Tensor, s: Tensor) -> Tensor:
        return field(z, ROUNDINGS[rounding](s, model.network_dtype))

    z = start * math.hypot(1 - first, first)  # 1 for flows, which start at level 1
    taken = at_rounded if rounding else field
    return integrate(taken, z.to(model.device, model.dtype), grid.levels, EulerSolver()).float()


def differences(ours: Tensor, stock: Tensor) -> dict[str, float]:
    """Norm of the difference relative to that of the stock latents, and largest and mean one in their deviations.

    Raises:
        ModelError: latents that are not finite; the stock pipeline's are looked at first.
    """
    gap, stock = (ours.double().cpu() - stock.double().cpu()), stock.double().cpu()
    for latents, whose in ((stock, "the stock pipeline's"), (gap, "latentedit's")):
        if not bool(latents.isfinite().all()):
            raise ModelError(f"{whose} final latents are not finite. Give --dtype bfloat16 or float32")
    scale = float(stock.std())
    return {
        "relative": float(gap.norm() / stock.norm()),
        "largest": float(gap.abs().max()) / scale,
        "mean": float(gap.abs().mean()) / scale,
    }


def compared(
    pipeline: Any, model: Backbone, prompt: str, other: str, *, steps: int, seed: int, note: Callable[[str], None]
) -> tuple[dict[str, Any], dict[str, Image.Image | Tensor]]:
    """Numbers of parity, and both images: the stock pipeline's, and latents of latentedit.

    Args:
        pipeline: of diffusers, with its own scheduler.
        model: `latentedit.from_pipeline` of it.
        prompt: text that is drawn.
        other: another text, for the control of sensitivity.
        steps: number of sampling steps.
        seed: of the starting noise.
        note: called with what comes next.

    Returns:
        "relative", "largest" and "mean" of ours against stock; the same of the controls ("two at once" and "other
        attention", stock against stock, which have no error of ours; "other caption", ours against stock); what the
        sampler was; seconds and evaluations. Flows in half precision also have "rounded times", the nearest of
        `ROUNDINGS`.
    """
    with euler(pipeline) as sampler:
        note("the stock pipeline")
        started = time.perf_counter()
        start, stock, image = run_stock(pipeline, model, prompt, steps=steps, seed=seed)
        stock_seconds = time.perf_counter() - started
        shape = model.latent_shape(*[model.capabilities.sizes[1]] * 2)
        start, stock = canonical(start, shape), canonical(stock, shape)
        note("latentedit's own sampling")
        started = time.perf_counter()
        with model.count() as cost:
            ours = run_ours(model, prompt, start, steps=steps)
        seconds = time.perf_counter() - started
        found: dict[str, Any] = differences(ours, stock)
        if isinstance(model, FlowBackbone) and model.network_dtype in (torch.bfloat16, torch.float16):
            rounded = [
                differences(run_ours(model, prompt, start, steps=steps, rounding=name), stock) | {"rounding": name}
                for name in ROUNDINGS
            ]
            found["rounded times"] = min(rounded, key=lambda row: row["relative"])
        note("controls")
        found["other caption"] = differences(run_ours(model, other, start, steps=steps), stock)
        for name, rows, kernel in (("two at once", 2, None), ("other attention", 1, SDPBackend.MATH)):
            try:
                with contextlib.nullcontext() if kernel is None else sdpa_kernel(kernel):
                    again = run_stock(pipeline, model, prompt, steps=steps, seed=seed, rows=rows)[1]
                found[name] = differences(canonical(again, shape), stock)
            except (torch.OutOfMemoryError, RuntimeError, ValueError) as error:
                found[name] = {"error": str(error).partition("\n")[0][:200]}
    found |= {"sampler": sampler, "steps": steps, "stock_seconds": stock_seconds, "seconds": seconds}
    found["evaluations"] = cost.evaluations
    return found, {"stock": image, "ours": ours}
