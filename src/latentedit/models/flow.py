"""Base of the adapters of rectified-flow transformers: levels, time, sign, guidance, text windows, packed latents.

A family declares what differs: configuration fields, published guidance, how the network is called (`_predict`,
`clock`), the sign of its output, the levels of its pipeline (`nodes`, `_mu`), and how text is embedded (`prompts`).
"""

import abc
import copy
import dataclasses
import inspect
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.errors import ModelError, ShapeError
from latentedit.core.setting import Count, check_value
from latentedit.models.capabilities import GuidanceKind
from latentedit.models.codec import PATCH_SIDE, Size, pack, unpack
from latentedit.models.libraries import described, scheduler_of, stock_kinds, takes_setting
from latentedit.models.pipelines import config_of
from latentedit.models.prompts import PromptBackbone, truncated
from latentedit.numerics.condition import Condition
from latentedit.numerics.device import plain_default
from latentedit.numerics.flow import LevelGrid

_SCHEDULER = "FlowMatchEulerDiscreteScheduler"
_SCHEDULERS = f"Use {_SCHEDULER} or another one with use_flow_sigmas, with the configuration of the model's own"

# Settings that do not count in the fingerprint, or that older versions of diffusers lack.
_USUAL = {"stochastic_sampling": True, "time_shift_type": "exponential"}

Clock = Literal["trained", "level", "clean"]
"""A network's time at level s: that of its training, 1000 s; s itself; or 1 - s."""


class FlowBackbone(PromptBackbone):
    """A rectified-flow transformer of a diffusers pipeline: ``v(z, s, c) = sign * transformer(z, time(s), c)``."""

    multiple_px: ClassVar[int] = 16

    nodes: ClassVar[Literal["even", "scheduler"]] = "even"
    """Levels before shifting: linspace(1, 1 / steps, steps) from the pipeline, or those of the scheduler itself."""

    clock: ClassVar[Clock] = "trained"
    sign: ClassVar[Literal[1, -1]] = 1
    """-1 if the network predicts x - e."""

    text_field: ClassVar[str] = "joint_attention_dim"
    """Configuration field of the transformer that holds the width of a text token."""

    chat: ClassVar[bool] = False
    """Prompts are built from the tokenizer's chat template."""

    guidance_kind: ClassVar[GuidanceKind] = "cfg"
    guidance_norm: ClassVar[Literal["token", "row"]] = "token"

    trained_px: int = 1024
    """Side of the images that the family was trained on; 0 is the network's ``sample_size``."""

    def __init__(self, pipeline: Any, **facts: Any) -> None:
        super().__init__(pipeline, **facts)
        self._scheduler = self._flow_scheduler(pipeline.scheduler)
        self._check_parts()
        self._set_shape(
            channels=self._codec.channels, scale=self._codec.scale_px, stride=self._patch(), widths=self._text_widths()
        )
        weight, kind = self._default_guidance()
        trained, largest = self.trained_px or int(self._network.config.sample_size) * self._scale, self._largest_side()
        self._largest_px = largest
        largest = 2 * trained if largest is None else largest
        trained = max(self._multiple, min(trained, largest) // self._multiple * self._multiple)
        sizes = self._sizes(trained, max(trained, largest))
        if self._largest_px is not None and sizes[2] > self._largest_px:
            raise ModelError(f"'sizes' go up to {sizes[2]} px, the network to {self._largest_px} px")
        self.capabilities = dataclasses.replace(
            self.capabilities,
            guidance=float(self.defaults.get("guidance", weight)),
            guidance_kind=kind,
            guidance_norm=self.guidance_norm,
            size_multiple=self._multiple,
            sizes=sizes,
            references=self._most_references(),
            flow_map=self._is_flow_map(),
        )

    @classmethod
    def configuration(cls, scheduler: Any, vae: Mapping[str, Any]) -> dict[str, Any]:
        """Adds the scheduler's levels, and the shift that was set with them."""
        levels = cls._flow_scheduler(scheduler).items()
        own = {name: value for name, value in levels if value and _USUAL.get(name) != value}
        shift = scheduler.shift if hasattr(type(scheduler), "shift") else own.get("shift")
        return super().configuration(scheduler, vae) | own | {"shift": shift}

    def _check_parts(self) -> None:
        """Check that text encoder, VAE and tokenizer belong to the transformer."""
        self._check_fit(text=int(self._network.config[self.text_field]), channels=self._network_channels())
        if self.chat and not self.pipeline.tokenizer.chat_template:
            raise ModelError(
                "the tokenizer has no chat template, from which this model builds its prompt. "
                "Get chat_template.jinja of the model's tokenizer folder"
            )

    def _network_channels(self) -> int:
        """Channels of a latent that the network takes."""
        return int(self._network.config.in_channels)

    def _patch(self) -> int:
        """Side of one token in latents."""
        return int(self._network.config.patch_size)

    def _text_widths(self) -> tuple[int, int]:
        """Widths of a token and of the pooled text."""
        config = self._network.config
        return int(config[self.text_field]), 0 if self.pooled_at is None else int(config.pooled_projection_dim)

    def _default_guidance(self) -> tuple[float, GuidanceKind]:
        """Published guidance weight, and how it acts; none in a distilled model unless its settings name a weight."""
        distilled = self._is_distilled() and self.defaults.get("guidance", 1) == 1
        return (1.0, "none") if distilled else (self.guidance, self.guidance_kind)

    def _is_distilled(self) -> bool:
        """Whether the network was distilled to need no guidance, as the pipeline says."""
        return bool(config_of(self.pipeline).get("is_distilled"))

    def _is_flow_map(self) -> bool:
        """Whether the network takes the level of arrival, `Condition.arrival`."""
        return bool(self._network.config.get("flow_map"))

    def _largest_side(self) -> int | None:
        """Largest side in pixels that the network has positions for; None without a limit."""
        return None

    def _most_references(self) -> int:
        """Largest number of reference images, according to the makers."""
        return 0

    @classmethod
    def _flow_scheduler(cls, scheduler: Any) -> dict[str, Any]:
        """Configuration of the flow scheduler with the levels of the pipeline's."""
        return flow_scheduler(scheduler)

    def _check_latents(self, z: Tensor) -> None:
        super()._check_latents(z)
        largest = max(z.shape[-2:]) if self._largest_px is None else self._largest_px // self._scale
        if max(z.shape[-2:]) > largest:
            raise ShapeError(
                f"latents are at most {largest} x {largest} ({largest * self._scale} px); got {list(z.shape)}"
            )

    def grid(self, steps: int, *, height_px: int = 0, width_px: int = 0) -> LevelGrid:
        """The levels of the stock pipeline, shifted by image size where its scheduler says so.

        One step goes from pure noise to the image: with a terminal level the stock scheduler would divide by 0.
        """
        check_value(Count, steps=steps)
        self._follow_changes()
        preferred = self.capabilities.sizes[1]
        _, height, width = self.latent_shape(height_px or preferred, width_px or preferred)
        if steps == 1:
            return LevelGrid(levels=(1.0, 0.0))
        # A new scheduler for each grid: setting the steps of one changes it, and SD3's shifts its levels twice.
        scheduler, shift = scheduler_of(_SCHEDULER, self._scheduler), self._configuration["shift"]
        if shift != self._scheduler["shift"]:  # which no scheduler before diffusers 0.32 can
            scheduler.set_shift(shift)
        tokens = (height // self._stride) * (width // self._stride)
        dynamic = scheduler.config.use_dynamic_shifting
        shifted = {"mu": self._mu(scheduler.config, tokens, steps)} if dynamic else {}
        sigmas, own = self._unshifted(steps), self.pipeline.scheduler
        if sigmas is not None:
            scheduler.set_timesteps(sigmas=sigmas, device="cpu", **shifted)
        else:
            scheduler = scheduler_of(stock_kinds(own)[0], own.config) if _solves_flows(own) else scheduler
            scheduler.set_timesteps(steps, device="cpu", **shifted)
        # Some solvers end at their smallest level, in a step of length 0.
        return LevelGrid(levels=(*(min(float(level), 1.0) for level in scheduler.sigmas[:-1]), 0.0))

    def _unshifted(self, steps: int) -> list[float] | None:
        """Levels before shifting, without the last, 0; None are the scheduler's own."""
        return torch.linspace(1, 1 / steps, steps, dtype=torch.float64).tolist() if self.nodes == "even" else None

    def _mu(self, config: Any, tokens: int, steps: int) -> float:
        """The shift by image size, affine in its tokens: ``base_shift`` at ``base_image_seq_len``, and so on."""
        slope = (config.max_shift - config.base_shift) / (config.max_image_seq_len - config.base_image_seq_len)
        return tokens * slope + config.base_shift - slope * config.base_image_seq_len

    def _velocity(
        self, z: Float[Tensor, "b *latent"], s: Float[Tensor, " b"], condition: Condition
    ) -> Float[Tensor, "b *latent"]:
        self._check_latents(z)
        self._check_condition(condition)
        with self._running(z, condition.tokens, condition.pooled):
            # Not in the network's dtype: bfloat16 moves a level by up to 0.004.
            time = self._time(s.to(torch.promote_types(s.dtype, torch.float32)), z)
            parts = list[Tensor]()
            for rows in self._calls(condition) or (slice(None),):
                text = condition[rows].to(self._network_dtype)
                # Windows of kind "exact" include their padding, to which some networks attend.
                if text.mask is not None and self.windows != "exact":
                    text = truncated(text, int(text.mask.sum(1).max()))
                parts.append(self.sign * self._predict(z[rows].to(self._network_dtype), time[rows], text).to(z.dtype))
            return self._rejoined(condition, parts)

    def _guidance(self, condition: Condition, like: Tensor) -> Float[Tensor, " b"]:
        """The weight as an input of guidance-distilled networks: the condition's, or the published one; float32."""
        weight = self.capabilities.guidance if condition.guidance is None else condition.guidance
        return torch.full((len(like),), weight, device=like.device, dtype=torch.float32)

    def _time(self, s: Float[Tensor, " b"], z: Float[Tensor, "b c h w"]) -> Float[Tensor, " b"]:
        """The network's time argument at levels s, in float32 or better; see `Clock`."""
        if self.clock == "trained":
            return s * int(self._scheduler["num_train_timesteps"])
        return s if self.clock == "level" else 1 - s

    @abc.abstractmethod
    def _predict(
        self, z: Float[Tensor, "b c h w"], time: Float[Tensor, " b"], condition: Condition
    ) -> Float[Tensor, "b c h w"]:
        """The network's output; latents and text are in its dtype, text is cut to the longest of the batch."""


def _solves_flows(scheduler: Any) -> bool:
    """Whether this is a solver for other models, such as DPM-Solver, that was set to flows."""
    return takes_setting(scheduler, "use_flow_sigmas") and bool(scheduler.config.get("use_flow_sigmas"))


def _check_levels(scheduler: Any) -> None:
    """Refuse a scheduler whose levels its configuration does not say: by its class, or a method of its own."""
    kinds = stock_kinds(scheduler)
    if not (any(kind.__name__.startswith("FlowMatch") for kind in kinds) or _solves_flows(scheduler)):
        unknown = "whose levels are not " + (
            "those of a flow" if any(hasattr(kind, "step") for kind in kinds) else "known"
        )
        raise ModelError(f"the scheduler's class is {described(scheduler)}, {unknown}. {_SCHEDULERS}")
    if type(scheduler) is kinds[0] and "set_timesteps" not in vars(scheduler):
        return  # its configuration may be changed later
    stock, given = scheduler_of(kinds[0], scheduler.config), inspect.signature(kinds[0].set_timesteps).parameters
    if hasattr(stock, "set_shift"):
        stock.set_shift(scheduler.shift)
    shifted = {"mu": 1.0} if scheduler.config.get("use_dynamic_shifting") and "mu" in given else {}
    ways: list[dict[str, Any]] = [
        {"num_inference_steps": 4},
        {"num_inference_steps": 25},
        {"sigmas": np.array([1.0, 0.6, 0.3])},
    ]
    for way in ways if "sigmas" in given else ways[:2]:
        try:
            with plain_default():
                pair = [copy.deepcopy(scheduler), stock]
                for one in pair:
                    one.set_timesteps(**way, **shifted)
            (levels, times), theirs = ((one.sigmas, one.timesteps) for one in pair)
            same = torch.equal(levels, theirs[0]) and torch.equal(times, theirs[1])
        except Exception as error:  # code of the user's own
            raise ModelError(
                f"the levels of the scheduler, {described(scheduler)}, fail: {error}. {_SCHEDULERS}"
            ) from error
        if not same:
            raise ModelError(
                f"the scheduler's class is {described(scheduler)}, and its levels are not those of its configuration, "
                f"by which edits go. {_SCHEDULERS}"
            )


def flow_scheduler(scheduler: Any) -> dict[str, Any]:
    """The configuration of a flow scheduler (or a configuration), with defaults filled in.

    Another class that samples flows, such as DPM-Solver with ``use_flow_sigmas``, gives that of the same shift.
    """
    given = getattr(scheduler, "config", scheduler)
    if not isinstance(scheduler, Mapping):
        _check_levels(scheduler)
    if _solves_flows(scheduler):
        given = {**given, "shift": given["flow_shift"]}
    config = scheduler_of(_SCHEDULER, given).config
    if config["invert_sigmas"]:
        raise ModelError(
            "the scheduler's levels rise (invert_sigmas), and those of this family fall. Use the model's own scheduler"
        )
    return {key: config[key] for key in config if not key.startswith("_")}


class PackedFlowBackbone(FlowBackbone):
    """A rectified-flow transformer on packed latents, whose time is s itself; see `latentedit.models.flow`."""

    clock: ClassVar[Clock] = "level"

    def _network_channels(self) -> int:
        return int(self._network.config.in_channels) // PATCH_SIDE**2

    def _patch(self) -> int:
        return PATCH_SIDE

    def _predict(self, z: Tensor, time: Tensor, condition: Condition) -> Tensor:
        images = [z, *(latents.to(z.dtype) for latents in condition.reference or ())]
        sizes = [(latents.shape[-2] // PATCH_SIDE, latents.shape[-1] // PATCH_SIDE) for latents in images]
        tokens = torch.cat([pack(latents) for latents in images], dim=1)
        output = self._predict_packed(tokens, time, condition, sizes)
        return unpack(output[:, : sizes[0][0] * sizes[0][1]], sizes[0])

    @abc.abstractmethod
    def _predict_packed(
        self, tokens: Float[Tensor, "b n d"], time: Float[Tensor, " b"], condition: Condition, sizes: list[Size]
    ) -> Float[Tensor, "b n d"]:
        """The network's output, with the image tokens first; ``sizes`` are those of the image and of each reference."""


def positions(size: Size, *, first: int, axes: int, device: torch.device) -> Float[Tensor, "n axes"]:
    """Rotary positions of image tokens, ``(first, row, column)``, then zeros up to so many axes.

    In float32, as bfloat16 has no odd number beyond 256.
    """
    rows, columns = size
    ids = torch.zeros(rows, columns, axes, device=device)
    ids[..., 0] = first
    ids[..., 1] = torch.arange(rows, device=device)[:, None]
    ids[..., 2] = torch.arange(columns, device=device)[None]
    return ids.flatten(0, 1)
