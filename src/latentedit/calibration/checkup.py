"""Checks whether a loaded model does what editing needs, on an image that it draws itself."""

import dataclasses
import math
import time
from collections.abc import Callable, Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.console import Progress
from latentedit.core.errors import LatentEditError, ModelError
from latentedit.editing import verbs
from latentedit.editors.base import stored_settings
from latentedit.editors.baselines.flow_paths import FlowEdit
from latentedit.encoding.captions.base import to_images
from latentedit.models.base import Backbone
from latentedit.models.derivatives import VelocityJacobian
from latentedit.models.guidance import GuidedField
from latentedit.numerics.cost import peak_bytes, reset_peak
from latentedit.numerics.rng import draw, stream
from latentedit.numerics.solvers import EulerSolver, MidpointSolver, integrate

CAPTION, TARGET = "a person", "a person with glasses"
STEPS = 8  # steps of drawing, inversion and edit: enough to recognize a model that works, too few for a good image
LEVEL = 0.5  # noise level of the checks of guidance and derivative
LEAST_PSNR_DB = 15.0  # PSNR of the autoencoder's round trip from which it passes; sound ones reach 25 to 40
MOST_INVERSION_ERROR = 0.25  # relative, after midpoint steps there and back; the bundled models have 0.02 to 0.06
MOST_DERIVATIVE_ERROR = 0.25  # relative to central differences, which are right to 0.06 in bfloat16
_PRECISION = "Load it in a wider dtype (float32), or check its weights"
_LESS_MEMORY = "Load it with another dtype, or offload it with pipe.enable_model_cpu_offload()"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """Finding of one check, whether the model passes, a remedy where it does not, wall time and memory."""

    name: str
    text: str
    ok: bool
    cure: str = ""
    seconds: float = 0.0
    peak_bytes: int = 0


def check_live_model(model: Backbone, *, progress: Progress | None = None) -> Iterator[Check]:
    """Draw an image, and check codec, inversion, guidance, derivative and an edit on it, one after the other.

    What a model does not have (images, text, guidance) is not checked. Where drawing fails, nothing else is. About 60
    evaluations and as many with guidance, at the preferred size of the model.
    """
    trial = _Trial(model, progress)
    codec, edit = ([trial.codec], [trial.edit]) if model.capabilities.pixels else ([], [])
    for check in (trial.drawing, *codec, trial.inversion, trial.guidance, trial.derivative, *edit):
        reset_peak(model.device)
        started = time.perf_counter()
        try:
            with torch.no_grad():
                text, ok, cure = check()
        except torch.cuda.OutOfMemoryError:
            text, ok, cure = "too little memory", False, _LESS_MEMORY
        except (LatentEditError, RuntimeError) as error:
            text, ok, cure = " ".join(str(error).split()), False, _PRECISION
        yield Check(
            name=check.__name__,
            text=text,
            ok=ok,
            cure="" if ok else cure,
            seconds=time.perf_counter() - started,
            peak_bytes=peak_bytes(model.device),
        )
        if check == trial.drawing and not ok:
            return


class _Trial:
    """The checks, each with what it found, whether the model passes, and a remedy."""

    def __init__(self, model: Backbone, progress: Progress | None) -> None:
        self._model, self._progress = model, progress
        self._side = model.capabilities.sizes[1]

    def drawing(self) -> tuple[str, bool, str]:
        """An image from noise, with the model's own guidance."""
        model = self._model
        self._condition, self._target = model.embed([CAPTION]), model.embed([TARGET])
        self._reads_text = not torch.equal(self._condition.tokens, self._target.tokens)
        start = model.draw_start((1, *model.latent_shape(self._side, self._side)), generator=stream(0, "checkup"))
        field = self._field(model.capabilities.guidance)
        self._grid = model.grid(STEPS, height_px=self._side, width_px=self._side)
        self._z = integrate(field, start, self._grid.levels, EulerSolver(), progress=self._progress)
        if not bool(torch.isfinite(self._z).all()):
            raise ModelError(f"what {model.name} draws is not finite")
        return f"{self._side} x {self._side} px in {STEPS} steps", True, ""

    def codec(self) -> tuple[str, bool, str]:
        """The loss of decoding, encoding and decoding again."""
        self._image = self._model.decode(self._z).clamp(-1, 1)
        again = self._model.decode(self._model.encode(self._image)).clamp(-1, 1)
        error = float((again - self._image).square().mean())
        decibels = math.inf if error == 0 else 10 * math.log10(4 / error)
        return f"{decibels:.1f} dB there and back", decibels >= LEAST_PSNR_DB, _PRECISION

    def inversion(self) -> tuple[str, bool, str]:
        """The distance from the start after a way up to noise and down again."""
        field, solver = self._field(1.0), MidpointSolver()
        up = integrate(field, self._z, self._grid.levels[::-1], solver, progress=self._progress)
        back = integrate(field, up, self._grid.levels, solver, progress=self._progress)
        error = _relative(back, self._z)
        cure = f"Take more steps than {STEPS}, or load it in a wider dtype"
        return f"relative error {error:.2g} after {STEPS} steps", error <= MOST_INVERSION_ERROR, cure

    def guidance(self) -> tuple[str, bool, str]:
        """Whether the weight changes the velocity, where the model has one and reads text."""
        kind = self._model.capabilities.guidance_kind
        if kind == "none":
            return "needs none: distilled", True, ""
        if not self._reads_text:
            return "none: the model reads no text", True, ""
        z, s = self._noisy()
        change = _relative(self._field(5.0)(z, s), self._field(1.0)(z, s))
        cure = "Check that its text encoders are those of the model"
        return f"{kind}; weight 5 changes the velocity by {change:.1%}", 0 < change < math.inf, cure

    def derivative(self) -> tuple[str, bool, str]:
        """The mode of the model's derivative, and how well it agrees with central differences."""
        z, s = self._noisy()
        along = draw(z.shape, seed=1, purpose="checkup").to(z)
        jacobian = VelocityJacobian(self._model, z, s, self._condition)
        product = jacobian.matvec(along)
        differences = VelocityJacobian(self._model, z, s, self._condition, mode="finite_difference").matvec(along)
        error = _relative(product, differences)
        text = jacobian.note or f"{jacobian.mode} mode, {error:.2g} from central differences"
        return text, error <= MOST_DERIVATIVE_ERROR, _PRECISION

    def edit(self) -> tuple[str, bool, str]:
        if not self._reads_text:
            return "none by text: the model reads none", True, ""
        (image,) = to_images(self._image)
        editor = FlowEdit.from_dict({**stored_settings("flowedit", self._model), "steps": STEPS})
        result = verbs.edit(
            self._model,
            image,
            prompt=TARGET,
            source_prompt=CAPTION,
            method=editor,
            auto_mask=False,
            complete=False,
            progress=self._progress,
        )
        share = result.effect.changed_share
        cure = "Try a stronger guidance, or check its text encoders"
        return f"{editor.name} changes {share:.0%} of the pixels", share > 0, cure

    def _field(self, weight: float) -> Callable[[Tensor, Tensor], Tensor]:
        """The guided velocity, at levels that the model knows."""
        field = GuidedField(backbone=self._model, condition=self._condition, guidance=weight)
        return lambda z, s: field(z, s.clamp_min(self._model.capabilities.s_min))

    def _noisy(self) -> tuple[Float[Tensor, "1 *latent"], Float[Tensor, " 1"]]:
        """The drawn latents with noise, and their level."""
        noise, level = draw(self._z.shape, seed=0, purpose="checkup").to(self._z), self._model.capabilities.level(LEVEL)
        return (1 - level) * self._z + level * noise, torch.full((1,), level).to(self._z)


def _relative(value: Tensor, expected: Tensor) -> float:
    """The norm of the difference relative to that of the expected; infinite where either is not finite."""
    error = float((value - expected).norm() / expected.norm().clamp_min(torch.finfo(torch.float32).tiny))
    return error if math.isfinite(error) else math.inf
