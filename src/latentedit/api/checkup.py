"""Whether a loaded model does what editing needs of it, tried on a picture that it draws itself."""

import dataclasses
import math
import time
from collections.abc import Callable, Iterator

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from latentedit.api import verbs
from latentedit.api.measure import peak_bytes, reset_peak
from latentedit.core.condition import Condition
from latentedit.core.errors import LatentEditError, ModelError
from latentedit.core.progress import Progress
from latentedit.core.rng import draw, stream
from latentedit.core.solvers.euler import EulerSolver
from latentedit.core.solvers.integrate import integrate
from latentedit.core.solvers.midpoint import MidpointSolver
from latentedit.editors import FlowEdit
from latentedit.editors.registry import stored_settings
from latentedit.models.base import Backbone
from latentedit.models.derivatives import VelocityJacobian
from latentedit.models.guidance import GuidedField

CAPTION, TARGET = "a person", "a person with glasses"
STEPS = 8
"""Of drawing, inversion and the edit: enough to tell a model that works, too few for a good picture."""

LEVEL = 0.5
"""At which guidance and derivative are tried."""

LEAST_PSNR_DB = 15.0
"""Of the autoencoder's round trip; sound ones reach 25 to 40."""

MOST_INVERSION_ERROR = 0.25
"""Relative, after `STEPS` midpoint steps there and back; the bundled models have 0.02 to 0.06."""

MOST_DERIVATIVE_ERROR = 0.25
"""Relative, against central differences, which are right to 0.06 in bfloat16."""

_PRECISION = "Load it in a wider dtype (float32), or check its weights"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was tried.

    Args:
        name: what.
        found: what came of it.
        ok: whether it will do.
        cure: what to do where it will not; else empty.
        seconds: wall time.
        peak_bytes: of memory, see `latentedit.api.measure.peak_bytes`.
    """

    name: str
    found: str
    ok: bool
    cure: str = ""
    seconds: float = 0.0
    peak_bytes: int = 0


def check_model(model: Backbone, *, progress: Progress | None = None) -> Iterator[Check]:
    """Draw a picture and try codec, inversion, guidance, derivative and an edit on it, one after the other.

    What a model does not have (pictures, text, guidance) is not tried. Where drawing fails, nothing else is.

    Args:
        model: the model.
        progress: of the steps inside.

    Cost:
        About 60 evaluations and as many with guidance, at the preferred size of the model.
    """
    trial = _Trial(model, progress)
    checks: list[tuple[str, Callable[[], Check]]] = [("drawing", trial.drawing)]
    checks += [("codec", trial.codec)] if model.capabilities.pixels else []
    checks += [("inversion", trial.inversion), ("guidance", trial.guidance), ("derivative", trial.derivative)]
    checks += [("edit", trial.edit)] if model.capabilities.pixels else []
    for name, check in checks:
        reset_peak(model.device)
        started = time.perf_counter()
        try:
            with torch.no_grad():
                made = check()
        except torch.cuda.OutOfMemoryError:
            made = Check(name=name, found="too little memory", ok=False, cure="Load it with another placement or dtype")
        except (LatentEditError, RuntimeError) as error:
            made = Check(name=name, found=" ".join(str(error).split()), ok=False, cure=_PRECISION)
        yield dataclasses.replace(made, seconds=time.perf_counter() - started, peak_bytes=peak_bytes(model.device))
        if name == "drawing" and not made.ok:
            return


class _Trial:
    """The picture that a model drew, and what is tried on it."""

    def __init__(self, model: Backbone, progress: Progress | None) -> None:
        self._model, self._progress = model, progress
        self._side = model.capabilities.sizes[1]

    def drawing(self) -> Check:
        """From noise, with the model's own guidance."""
        model = self._model
        self._condition, self._target = model.embed([CAPTION]), model.embed([TARGET])
        start = model.draw_start((1, *model.latent_shape(self._side, self._side)), generator=stream(0, "checkup"))
        field = self._field(self._condition, model.capabilities.guidance)
        self._grid = model.grid(STEPS, height_px=self._side, width_px=self._side)
        self._z = integrate(field, start, self._grid.levels, EulerSolver(), progress=self._progress).states[-1]
        if not bool(torch.isfinite(self._z).all()):
            raise ModelError(f"what {model.name} draws is not finite")
        return Check(name="drawing", found=f"{self._side} x {self._side} px in {STEPS} steps", ok=True)

    def codec(self) -> Check:
        """What decoding, encoding and decoding again changes."""
        self._picture = self._model.decode(self._z).clamp(-1, 1)
        again = self._model.decode(self._model.encode(self._picture)).clamp(-1, 1)
        error = float((again - self._picture).square().mean())
        decibels = math.inf if error == 0 else 10 * math.log10(4 / error)
        ok = decibels >= LEAST_PSNR_DB
        return Check(name="codec", found=f"{decibels:.1f} dB there and back", ok=ok, cure="" if ok else _PRECISION)

    def inversion(self) -> Check:
        """How far a way up to noise and down again ends from where it began."""
        field, solver = self._field(self._condition, 1.0), MidpointSolver()
        up = integrate(field, self._z, self._grid.levels[::-1], solver, progress=self._progress).states[-1]
        back = integrate(field, up, self._grid.levels, solver, progress=self._progress).states[-1]
        error = _relative(back, self._z)
        ok = error <= MOST_INVERSION_ERROR
        cure = "" if ok else f"Take more steps than {STEPS}, or load it in a wider dtype"
        return Check(name="inversion", found=f"relative error {error:.2g} after {STEPS} steps", ok=ok, cure=cure)

    def guidance(self) -> Check:
        """Whether the weight changes the velocity, where the model has one and reads text."""
        kind = self._model.capabilities.guidance_kind
        if kind == "none" or not self._reads_text():
            why = "needs none: distilled" if kind == "none" else "none: the model reads no text"
            return Check(name="guidance", found=why, ok=True)
        z, s = self._noisy()
        weak, strong = (self._field(self._condition, weight)(z, s) for weight in (1.0, 5.0))
        change = _relative(strong, weak)
        ok = 0 < change < math.inf
        cure = "" if ok else "Check that its text encoders are those of the model"
        return Check(name="guidance", found=f"{kind}; weight 5 changes the velocity by {change:.1%}", ok=ok, cure=cure)

    def derivative(self) -> Check:
        """Which mode the model has, and how well it agrees with central differences."""
        z, s = self._noisy()
        along = draw(z.shape, seed=1, purpose="checkup").to(z)
        jacobian = VelocityJacobian(self._model, z, s, self._condition)
        product = jacobian.matvec(along)
        differences = VelocityJacobian(self._model, z, s, self._condition, mode="finite_difference").matvec(along)
        error = _relative(product, differences)
        ok = error <= MOST_DERIVATIVE_ERROR
        found = jacobian.note or f"{jacobian.mode} mode, {error:.2g} from central differences"
        return Check(name="derivative", found=found, ok=ok, cure="" if ok else _PRECISION)

    def edit(self) -> Check:
        """An edit of the picture by text."""
        if not self._reads_text():
            return Check(name="edit", found="none by text: the model reads none", ok=True)
        pixels = ((self._picture[0].permute(1, 2, 0) + 1) * 127.5).round().to("cpu", torch.uint8).numpy()
        editor = FlowEdit.from_dict({**stored_settings("flowedit", self._model), "steps": STEPS})
        result = verbs.edit(
            self._model,
            Image.fromarray(pixels),
            to=TARGET,
            caption=CAPTION,
            method=editor,
            local=False,
            progress=self._progress,
        )
        share = result.effect.changed_share
        cure = "" if share > 0 else "Try a stronger guidance, or check its text encoders"
        return Check(name="edit", found=f"{editor.name} changes {share:.0%} of the pixels", ok=share > 0, cure=cure)

    def _field(self, condition: Condition, weight: float) -> Callable[[Tensor, Tensor], Tensor]:
        """The guided velocity, at levels that the model knows."""
        field = GuidedField(backbone=self._model, condition=condition, guidance=weight)
        return lambda z, s: field(z, s.clamp_min(self._model.capabilities.s_min))

    def _reads_text(self) -> bool:
        return not torch.equal(self._condition.tokens, self._target.tokens)

    def _noisy(self) -> tuple[Float[Tensor, "1 *latent"], Float[Tensor, " 1"]]:
        """The drawn latents with noise, and their level."""
        noise = draw(self._z.shape, seed=0, purpose="checkup").to(self._z)
        return (1 - LEVEL) * self._z + LEVEL * noise, torch.full((1,), LEVEL).to(self._z)


def _relative(found: Tensor, expected: Tensor) -> float:
    """The norm of the difference over that of what was expected; infinite where either is not finite."""
    error = float((found - expected).norm() / expected.norm().clamp_min(torch.finfo(torch.float32).tiny))
    return error if math.isfinite(error) else math.inf
