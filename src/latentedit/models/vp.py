"""Variance-preserving networks in flow coordinates: prediction types, timesteps and levels.

- Timesteps: the network takes the number of a trained timestep, 0 (nearly clean) to n - 1 (nearly noise). The timestep
  of a level between two trained ones is interpolated linearly in log-SNR (`latentedit.numerics.schedule`).
- Sampler: deterministic DDIM (Song et al. 2021, eta = 0), which is Euler's method in flow coordinates. Of any scheduler
  in a folder, only the betas, the prediction type and the timestep spacing matter.
- Grid: the timesteps of `DDIMScheduler`, then level 0, so the last step goes to the clean estimate x_hat, as DDIM does
  with ``set_alpha_to_one``; without that, the stock sampler stops at the level of timestep 0.
- A step ends at the level of the next timestep. The stock DDIM steps from t to ``t - n // steps`` instead, which is the
  same with "leading" spacing, and with "trailing" if ``steps`` divides n.
- Clipping and thresholding of x_hat (``clip_sample``, ``thresholding``) are not done: with them there is no flow.
- Distilled few-step models (SDXL Turbo and Lightning, SD Turbo) have the same shapes as their teachers and are
  recognized by the scheduler of their folder: Euler, ancestral or not, with "trailing" spacing. If they do not predict
  v, they have no guidance unless their settings name a weight. The same holds for pipelines with a scheduler of
  consistency models (LCM, TCD), for which a LoRA was loaded; its timesteps are "trailing" except for rounding.
- Zero terminal SNR (``rescale_betas_zero_snr``): the last timestep is level 1, pure noise. The velocity is defined
  there for networks that predict v or x, but not for those that predict noise.
"""

import abc
import dataclasses
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.errors import CoordinateError, ModelError
from latentedit.core.setting import Count, check_value
from latentedit.models.libraries import described, scheduler_of, stock_kinds, takes_setting
from latentedit.models.network import NetworkBackbone
from latentedit.models.prompts import truncated
from latentedit.numerics.condition import Condition
from latentedit.numerics.flow import (
    LevelGrid,
    Prediction,
    alpha_sigma_from_level,
    model_from_canonical,
    velocity_from_prediction,
)
from latentedit.numerics.precision import to_float64
from latentedit.numerics.schedule import DiscreteSchedule

_PREDICTIONS: tuple[Prediction, ...] = ("epsilon", "v_prediction", "sample")
# Keys of a scheduler's configuration.
_HEEDED = (
    *("prediction_type", "num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas"),
    *("rescale_betas_zero_snr", "timestep_spacing", "steps_offset"),
)

# The timestep and prediction type with which the network gets a quarter of the logarithm of sigma as its time.
_CONTINUOUS = ("continuous", "v_prediction")

# Schedulers of distilled models; their teachers have the same ones with "leading" spacing.
_FEW_STEP = ("EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler")

# Schedulers for distilled models only.
_CONSISTENCY = ("LCMScheduler", "TCDScheduler")

# Times this close to an integer are rounded: a level in float32 determines them to about 0.001 near the noise.
_INTEGER = 0.01

Network = Callable[[Float[Tensor, "b *latent"], Float[Tensor, " b"]], Float[Tensor, "b *latent"]]
"""A network in its own coordinates, ``(x_t, time) -> prediction``."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class VPSchedule:
    """The trained timesteps of a network, from the configuration of its scheduler."""

    prediction: Prediction
    table: DiscreteSchedule  # levels of the trained times, without the last one where that is pure noise
    pure_noise: bool  # the last trained time is level 1
    few_step: bool  # the scheduler is one of distilled models
    scheduler: Mapping[str, Any]

    @classmethod
    def from_scheduler(cls, scheduler: Any, **changes: Any) -> "VPSchedule":
        """The schedule of any scheduler of the family, with settings that the pipeline changes."""
        kinds = [kind.__name__ for kind in stock_kinds(scheduler)]
        config, consistency = dict(getattr(scheduler, "config", {})), not {*_CONSISTENCY}.isdisjoint(kinds)
        edm = "sigma_data" in config and "sigma_max" in config
        if edm or (config.get("timestep_type"), config.get("prediction_type")) == _CONTINUOUS:
            raise ModelError(
                f"the scheduler's class is {described(scheduler)}, of a network that was trained on continuous noise "
                f"levels ({'EDM' if edm else 'timestep_type'}), as Playground v2.5 or CosXL, and takes other times or "
                "latents than networks with betas. Use another model, such as SDXL base"
            )
        # a flow scheduler keeps the betas of a configuration that it was made from
        what = "no betas of diffusers, or samples a flow"
        if takes_setting(scheduler, "beta_start") and not config.get("use_flow_sigmas"):
            stock, own = scheduler_of(stock_kinds(scheduler)[0], scheduler.config), scheduler.alphas_cumprod
            # The configuration of a class of diffusers counts, which may be changed later; another one may add to it.
            same = type(scheduler) is type(stock) or torch.equal(own.cpu(), stock.alphas_cumprod)
            what = "" if same else "betas other than its configuration says"
        if what:
            raise ModelError(
                f"the scheduler's class is {described(scheduler)}, which has {what}, and this family needs the "
                "betas of its training. Use the scheduler in the model's folder, or DDIMScheduler.from_config with it"
            )
        # LCM and TCD space their times in a way of their own, which is "trailing" except for rounding.
        spacing = {"timestep_spacing": "trailing"} if consistency else {}
        # Any scheduler of the family samples the same network: its levels and prediction are those of its betas.
        sampler = scheduler_of("DDIMScheduler", config | changes | spacing)
        settings = {key: sampler.config[key] for key in sampler.config if not key.startswith("_")}
        prediction, alphas = settings["prediction_type"], sampler.alphas_cumprod
        if prediction not in _PREDICTIONS:
            raise ModelError(
                f"the network predicts {prediction!r}, which is none of {', '.join(_PREDICTIONS)}. Use a model that "
                "predicts one of them"
            )
        pure_noise = bool(alphas[-1] == 0)
        if pure_noise and prediction == "epsilon":
            raise ModelError(
                "the schedule ends at pure noise (zero terminal SNR), where a network that predicts the noise "
                "(epsilon) has no velocity. Set rescale_betas_zero_snr to false, or use the v_prediction model that "
                "belongs to this schedule"
            )
        try:
            # The log-SNR of pure noise is minus infinity, between which and any other nothing can be interpolated.
            table = DiscreteSchedule.from_alphas_cumprod(alphas[:-1] if pure_noise else alphas)
        except CoordinateError as error:
            raise ModelError(f"the betas of the scheduler's configuration are not within (0, 1): {error}") from error
        trailing = not {*_FEW_STEP}.isdisjoint(kinds) and settings["timestep_spacing"] == "trailing"
        return cls(
            prediction=prediction,
            table=table,
            pure_noise=pure_noise,
            few_step=consistency or (trailing and prediction != "v_prediction"),
            scheduler=settings,
        )

    @property
    def levels(self) -> list[float]:
        """The level of every trained time, rising: the network has seen neither cleaner nor noisier latents."""
        return [*self.table.levels.tolist(), *([1.0] if self.pure_noise else [])]

    @property
    def start_std(self) -> float:
        """Standard deviation of z at the last level, ``1 / (alpha + sigma)``."""
        return 1.0 if self.pure_noise else self.table.start_std

    def time(self, s: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
        """The timestep of each level, as of `to_float64`: an integer at trained levels.

        Between pure noise and the level before it, the nearer of the two: there is no log-SNR to interpolate.
        """
        wide = to_float64(s)
        time = self.table.time(wide.clamp(self.table.s_min, self.table.s_max))
        time = torch.where((time - time.round()).abs() < _INTEGER, time.round(), time)
        if self.pure_noise:
            time = torch.where(wide > (1 + self.table.s_max) / 2, torch.full_like(time, self.table.times), time)
        return time

    def grid(self, steps: int) -> LevelGrid:
        """The levels at which the stock sampler evaluates the network, then 0.

        Sampling starts at the first, with latents ``N(0, ((1 - s)^2 + s^2) I)``: at the noisiest with "trailing"
        spacing, lower with "leading" (time 981 of 1000 in 50 steps).
        """
        check_value(Count, steps=steps)
        scheduler, levels = scheduler_of("DDIMScheduler", self.scheduler), self.levels
        # diffusers refuses more steps than times with an error of its own.
        if steps <= len(levels):
            scheduler.set_timesteps(steps, device="cpu")
        times = scheduler.timesteps.tolist()
        if len(times) != steps or max(times) >= len(levels):
            raise CoordinateError(
                f"steps are too many for the {len(levels)} times of the training; got {steps}. Take fewer"
            )
        return LevelGrid(levels=(*(levels[time] for time in times), 0.0))

    def velocity(
        self, network: Network, z: Float[Tensor, "b *latent"], s: Float[Tensor, " b"]
    ) -> Float[Tensor, "b *latent"]:
        """The velocity that follows from a network's prediction, in the dtype of z; computed in float32 or better.

        The network takes latents in its own coordinates and float32 times.
        """
        wide = z.to(torch.promote_types(z.dtype, torch.float32))
        alpha, sigma = (part.to(wide) for part in alpha_sigma_from_level(to_float64(s)))
        x_t = model_from_canonical(wide, alpha, sigma)
        output = network(x_t, self.time(s).to(s.device, torch.float32))
        return velocity_from_prediction(self.prediction, output.to(wide.dtype), x_t, alpha, sigma).to(z.dtype)


class VPBackbone(NetworkBackbone):
    """A network of diffusers with a `VPSchedule`; adapters add text, the image codec and the call of the network."""

    scheduler_changes: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    """Changes of the scheduler's configuration by the stock pipeline."""

    def __init__(self, pipeline: Any, **facts: Any) -> None:
        super().__init__(pipeline, **facts)
        self.schedule = VPSchedule.from_scheduler(pipeline.scheduler, **self.scheduler_changes)

    @classmethod
    def configuration(cls, scheduler: Any, vae: Mapping[str, Any]) -> dict[str, Any]:
        """Adds the betas, the prediction type and the times of samplers."""
        own = VPSchedule.from_scheduler(scheduler, **cls.scheduler_changes).scheduler
        return super().configuration(scheduler, vae) | {name: own[name] for name in _HEEDED if own.get(name)}

    @property
    def compute_dtype(self) -> torch.dtype:
        """The dtype of the network: these networks compute in float64 throughout if they have that dtype."""
        return self.network_dtype if self.network_dtype == torch.float64 else super().compute_dtype

    def grid(self, steps: int, *, height_px: int = 0, width_px: int = 0) -> LevelGrid:
        """The levels of the stock DDIM sampler, then 0; see `latentedit.models.vp`."""
        self._follow_changes()
        return self.schedule.grid(steps)

    def _set_capabilities(self, preferred_px: int, largest_px: int) -> None:
        """Set the range of levels, the guidance weight and the sizes, after `_set_shape`."""
        # The makers of distilled models train them without guidance; a weight in the settings is the user's own choice.
        distilled = self.schedule.few_step and "guidance" not in self.defaults
        self.capabilities = dataclasses.replace(
            self.capabilities,
            s_min=self.schedule.levels[0],
            s_max=self.schedule.levels[-1],
            start_std=self.schedule.start_std,
            guidance=1.0 if distilled else float(self.defaults.get("guidance", self.guidance)),
            guidance_kind="none" if distilled else "cfg",
            predicts_noise=self.schedule.prediction == "epsilon",
            size_multiple=self._multiple,
            sizes=self._sizes(preferred_px, largest_px),
        )

    def _velocity(
        self, z: Float[Tensor, "b *latent"], s: Float[Tensor, " b"], condition: Condition
    ) -> Float[Tensor, "b *latent"]:
        self._check_latents(z)
        self._check_condition(condition)
        with self._running(z, condition.tokens, condition.pooled):
            # Padding that the network masks costs time and changes nothing.
            if condition.mask is not None:
                condition = truncated(condition, int(condition.mask.sum(1).max()))
            return self.schedule.velocity(lambda x_t, time: self._predict(x_t, time, condition), z, s)

    @abc.abstractmethod
    def _predict(
        self, x_t: Float[Tensor, "b c h w"], time: Float[Tensor, " b"], condition: Condition
    ) -> Float[Tensor, "b c h w"]:
        """The network's output at latents in its own coordinates; text is cut to the longest of the batch."""
