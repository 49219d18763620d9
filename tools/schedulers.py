"""The table of schedulers in docs/pipelines.md: what each does in a family, against the stock pipeline with it.

Each scheduler is made from the configuration of a miniature's own and put in its place. The stock pipeline samples, and
the calls of its network are recorded. The model then gives its velocity at their latents and levels: its network must
receive what the stock pipeline gave it, up to the rounding of times, and the velocity must be what the output stands
for. `tools.pipelines` writes the page.
"""

import dataclasses
import itertools
import warnings
from typing import Any

import diffusers
import torch
from torch import Tensor

import latentedit as le
from latentedit.core.errors import ModelError
from latentedit.models.libraries import quiet_libraries
from latentedit.testing.tolerances import relative_error
from tests.models.families.family import CAPTION, STEPS, FamilyContract
from tests.models.families.test_flow import TestAuraFlow
from tests.models.families.test_flux import TestDev
from tests.models.families.test_pixart import TestAlpha
from tests.models.families.test_qwen_image import TestQwenImage
from tests.models.families.test_sana import TestSana
from tests.models.families.test_sd import TestNoise
from tests.models.families.test_sd3 import TestTwoEncoders
from tests.models.families.test_sdxl import TestBase

FLOW: dict[str, type[FamilyContract]] = {
    "SD3": TestTwoEncoders,
    "AuraFlow": TestAuraFlow,
    "FLUX.1": TestDev,
    "Qwen-Image": TestQwenImage,
    "Sana": TestSana,
}
NOISE: dict[str, type[FamilyContract]] = {"SD": TestNoise, "SDXL": TestBase, "PixArt": TestAlpha}
FAMILIES = FLOW | NOISE

FLOWS = {"use_flow_sigmas": True, "flow_shift": 3.0, "prediction_type": "flow_prediction"}
VELOCITY = {"prediction_type": "v_prediction"}
ZERO_SNR = {**VELOCITY, "rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
SOLVERS = ("DPMSolverMultistep", "DPMSolverSinglestep", "DEISMultistep", "UniPCMultistep", "SASolver")
SPACED = ("use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas")
PLAIN = (
    *("DDIM", "DDPM", "PNDM", "LMSDiscrete", "EulerDiscrete", "EulerAncestralDiscrete", "HeunDiscrete"),
    *("KDPM2Discrete", "KDPM2AncestralDiscrete", *SOLVERS, "LCM", "TCD", "EDMEuler", "EDMDPMSolverMultistep"),
    *("FlowMatchEulerDiscrete", "FlowMatchHeunDiscrete", "FlowMatchLCM"),
)
SETTINGS: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in PLAIN),
    *((name, {spaced: True}) for name in ("EulerDiscrete", "FlowMatchEulerDiscrete") for spaced in SPACED),
    *((name, FLOWS) for name in SOLVERS),
    *((name, kind) for kind in (VELOCITY, ZERO_SNR) for name in ("DDIM", "EulerDiscrete")),
    ("EulerDiscrete", {**VELOCITY, "timestep_type": "continuous"}),
]

ABOUT = """\
What happens where the scheduler of a pipeline is exchanged, against the stock pipeline with the same one. *Right*: the
network receives the same latents and times, and its output is read as the same velocity, at the levels of the stock
pipeline's sampling; with a star, at those of DDIM or of the model's own scheduler instead. *Refused*: by
`from_pipeline`, with the reason. *Stock fails*: the scheduler or the stock pipeline does not take it."""

CLOSE, CLOSE_TIMES, CLOSE_LEVELS = 0.02, 1.01, 2e-3
"""Largest relative error of latents and velocities, and largest errors of trained times, which some schedulers round to
integers, and of levels."""


class Recorder:
    """Latents, times and outputs of a network's calls."""

    def __init__(self, network: torch.nn.Module) -> None:
        self.calls = list[tuple[Tensor, float, Tensor]]()
        network.register_forward_hook(self._record, with_kwargs=True)

    def _record(self, _: Any, given: tuple[Any, ...], named: dict[str, Any], output: Any) -> None:
        latents: Any = given[0] if given else named.get("hidden_states", named.get("sample"))
        time = torch.as_tensor(named["timestep"] if "timestep" in named else given[1])
        predicted = output[0] if isinstance(output, tuple) else output.sample
        self.calls.append((latents, float(time.flatten()[0]), predicted))


def level_of(scheduler: Any, call: int, time: float, *, flow: bool) -> float:
    """The level of a call of the stock pipeline, by the scheduler's own numbers."""
    sigmas: Any = getattr(scheduler, "sigmas", None)
    if flow:
        return float(sigmas[call])
    if sigmas is not None and "KDPM2" not in type(scheduler).__name__:  # which has two tables
        # Zero terminal SNR has a cumulative product of 2 ** -24 there, as sigma would be infinite.
        return 1.0 if sigmas[call] > 4095 else float(sigmas[call] / (1 + sigmas[call]))
    alpha = scheduler.alphas_cumprod[round(time)].double()
    return float((1 - alpha).sqrt() / (alpha.sqrt() + (1 - alpha).sqrt()))


def read_as(prediction: str, output: Tensor, x_t: Tensor, s: float) -> Tensor:
    """``e - x`` from a prediction at latents of variance-preserving coordinates."""
    length = (s**2 + (1 - s) ** 2) ** 0.5
    alpha, sigma = (1 - s) / length, s / length
    output = output[:, : x_t.shape[1]]
    if prediction == "epsilon":
        return output - (x_t - sigma * output) / alpha
    clean = alpha * x_t - sigma * output
    return (x_t - alpha * clean) / sigma - clean


def compared(name: str, kind: Any, changes: dict[str, Any]) -> str:
    """What a scheduler does in a family."""
    family, flow = FAMILIES[name](), name in FLOW
    pipeline: Any = family.build()
    config = {key: value for key, value in pipeline.scheduler.config.items() if not key.startswith("_")}
    try:
        with quiet_libraries():
            scheduler = pipeline.scheduler = kind.from_config(config, **changes)
    except (ValueError, NotImplementedError):
        return "stock fails"
    try:
        model: Any = le.from_pipeline(pipeline, settings=family.settings)
    except ModelError:
        return "refused"
    size, weight, known = family.sizes[0], family.weights[0], model.capabilities
    z, recorder = family.start(model, size), Recorder(pipeline.components[model.denoiser])
    try:
        FamilyContract.stock_image(family, pipeline, weight, size, z)  # without a scheduler of the family's test
    except Exception:  # noqa: BLE001 - pipelines fail in as many ways as they have schedulers
        return "stock fails"
    stock, levels = list(recorder.calls), list[float]()
    embedded = weight if known.guidance_kind == "embedded" else None
    text = dataclasses.replace(model.embed([CAPTION]), guidance=embedded)
    for call, (latents, time, output) in enumerate(stock):
        x_t, out = (family.canonical_latents(part[:1], z) for part in (latents, output))
        s = level_of(scheduler, call, time, flow=flow)
        levels.append(s)
        expected = model.sign * out if flow else read_as(scheduler.config.prediction_type, out, x_t, s)
        z_s, inside = x_t if flow else x_t * (s**2 + (1 - s) ** 2) ** 0.5, min(max(s, known.s_min), known.s_max)
        model.velocity(z_s, torch.tensor([inside]), text)
        received, at, _ = recorder.calls[-1]
        off = abs(at - time) * (1000 if flow and model.clock != "trained" else 1)
        # At the time that the stock pipeline rounded.
        found = model.velocity(z_s, torch.tensor([inside * time / at if flow else inside]), text)
        errors = (relative_error(received, latents[:1]), relative_error(found, expected))
        if not (off <= CLOSE_TIMES and max(errors) <= CLOSE):
            return "wrong"
    ours = model.grid(STEPS, height_px=size[0], width_px=size[1]).levels[:-1]
    visited = [s for s, _ in itertools.groupby(levels)]
    same = len(ours) == len(visited) and all(abs(a - b) < CLOSE_LEVELS for a, b in zip(ours, visited, strict=True))
    return "right" if same else "right*"


def section() -> str:
    """The section of the page."""
    names = list(FAMILIES)
    lines = [
        "",
        "## Schedulers",
        "",
        ABOUT,
        "",
        f"| scheduler | {' | '.join(names)} |",
        f"| --- |{' --- |' * len(names)}",
    ]
    for kind, changes in SETTINGS:
        build: Any = getattr(diffusers, f"{kind}Scheduler")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            cells = [compared(name, build, changes) for name in names]
        shown = ", ".join([kind, *(f"{key}={value}" for key, value in changes.items())])
        lines.append(f"| {shown} | {' | '.join(cells)} |")
        print(lines[-1], flush=True)
    return "\n".join(lines) + "\n"
