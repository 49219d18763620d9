"""Base of the adapters of diffusers pipelines: device, dtype, latent shape and checks."""

import abc
import contextlib
import itertools
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from latentedit.core.condition import Condition
from latentedit.core.device import existing_device, parse_dtype
from latentedit.core.errors import DeviceError, LatentEditError, ModelError, ShapeError
from latentedit.core.process import SharedContext
from latentedit.core.rng import draw
from latentedit.models.attention import uncompiled
from latentedit.models.base import Backbone, Capabilities
from latentedit.models.libraries import quiet_libraries
from latentedit.models.model_settings import check_settings
from latentedit.models.pipelines import check_parts, config_of, innermost, offloaded, part_of
from latentedit.models.purity import glance, impure, remembers
from latentedit.models.sites import Blocks, Site
from latentedit.models.weights import configured, is_quantized, live_fingerprint

LATENT_CHANNELS = "number of latent channels"

_OF_CODECS = ("scaling_factor", "shift_factor", "latents_mean", "latents_std", "batch_norm_eps")
_AGAIN = "Call latentedit.from_pipeline again"


def check_sizes(what: str, taken: object, given: object) -> None:
    """Check a size that the denoiser takes against that of the other parts of its pipeline."""
    if taken != given:
        more = what == LATENT_CHANNELS and int(str(taken)) > int(str(given))
        meant = ": it is shown more than latents, for inpainting or control (Fill, Depth, Canny)" if more else ""
        remedy = "the text-to-image model of its family" if more else "the parts of one model"
        raise ModelError(f"the {what} of the denoiser is {taken}, of the other parts {given}{meant}. Use {remedy}")


class NetworkBackbone(Backbone):
    """A backbone on a live diffusers pipeline, whose parts are not changed.

    Nothing is moved, cast or copied: networks run where and as the pipeline has them, with its hooks, adapters and
    quantized layers. Coordinates and conditions are float32 or better. Graphs for derivatives are recorded if latents
    or text require gradients, not for parameters alone.

    Args:
        pipeline: a stock one of diffusers.
        name: for messages and records.
        fingerprint: of the weights.
        settings: as in ``latentedit.json``. Every adapter reads "guidance" (default weight) and "sizes" (smallest,
            preferred and largest side in pixels); adapters with text read "vocabulary" (words seen in training).
        device: on which the networks run; None is the device of the denoiser's parameters.

    Raises:
        ConfigError, DeviceError, ModelError: a dtype or device that networks do not run in, or parts that do not fit.
    """

    blocks: ClassVar[tuple[Blocks, ...]] = ()
    """Blocks of the denoiser, in the order in which it runs them."""

    guidance: ClassVar[float] = 1.0
    """Guidance weight that the makers publish, where 1 is the conditional velocity."""

    def __init__(
        self,
        pipeline: Any,
        *,
        name: str,
        fingerprint: str = "",
        settings: Mapping[str, Any] | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__(name=name, fingerprint=fingerprint, capabilities=Capabilities())
        self.pipeline = pipeline
        parts = {part: getattr(pipeline, part, None) for part in self.parts}
        self._networks = {part: network for part, network in parts.items() if isinstance(network, nn.Module)}
        self._evaluating = SharedContext(self._evaluate)
        self._bare = live_fingerprint(self._networks, bare=True)
        self.defaults: Mapping[str, Any] = check_settings(settings or {}, name)
        self._network: Any = getattr(pipeline, self.denoiser)
        self._network_dtype = parse_dtype(self._network.dtype)
        self._device = self._network.device if device is None else existing_device(device)
        self.follow(pipeline)
        self._derive()

    def follow(self, pipeline: Any) -> None:
        """Heed from now on what the user changes in this pipeline, which has the same parts."""
        self._owner, self._taken = pipeline, {part: part_of(pipeline, part) for part in (*self.parts, "scheduler")}
        self._resident = [network for network in self._networks.values() if not offloaded(network)]
        self._fixed, self._seen, self._modules = self._read_fixed(), self._look(), self._look_at_modules()

    def _derive(self) -> None:
        """Derive from the parts what depends on dtypes and on the scheduler; again after a change."""
        self._configuration = self.configuration(self._taken["scheduler"], config_of(self._taken.get("vae")))

    def _set_capabilities(self) -> None:
        """Set the capabilities that depend on the scheduler; again after a change."""

    @classmethod
    def configuration(cls, scheduler: Any, vae: Mapping[str, Any]) -> dict[str, Any]:
        """The numbers with which latents are normalized; families add those of the scheduler."""
        return {"family": cls.__name__} | {f"vae.{name}": vae[name] for name in _OF_CODECS if vae.get(name)}

    def _identity(self) -> str:
        """Of weights, adapters and configuration as they are now; the weights are those of files until they change."""
        self._heed()
        now = live_fingerprint(self._networks)
        return configured((self._fingerprint or now) if now == self._bare else now, self._configuration)

    @property
    def encoders(self) -> str:
        """Fingerprint and dtypes of the parts other than the denoiser."""
        others = {name: network for name, network in self._networks.items() if name != self.denoiser}
        dtypes = [first.dtype for network in others.values() for first in _first(network)]
        return self.once("encoders", lambda: f"{live_fingerprint(others)} {dtypes}")

    def _look(self) -> list[object]:
        """At a glance, everything from which values were derived here."""
        parts = {part: part_of(self._owner, part) for part in self._taken}
        scheduler, denoiser, vae = parts["scheduler"], parts[self.denoiser], config_of(parts.get("vae"))
        places = [(first.device, first.dtype) for network in self._resident for first in _first(network)]
        numbers = [str(vae.get(name)) for name in _OF_CODECS]  # of lists, which may be changed in place
        configs = [config_of(part) for part in (self._owner, denoiser, scheduler)]
        states = [getattr(denoiser, "encoder_hid_proj", None), getattr(scheduler, "shift", None)]
        return [*parts.values(), *configs, *states, *places, *numbers]

    def _look_at_modules(self) -> list[object]:
        return self.once("denoiser", lambda: glance(innermost(part_of(self._owner, self.denoiser))))

    def _read_fixed(self) -> dict[str, str]:
        """Settings with which latents or conditions would not fit those from before: they may not change."""
        vae = config_of(part_of(self._owner, "vae"))
        fixed = {f"{name} of the vae": str(vae.get(name)) for name in _OF_CODECS}
        for part, owner in {"pipeline": self._owner, self.denoiser: self._network}.items():
            own = {} if isinstance(owner, Mapping) else config_of(owner)
            plain = {key: own[key] for key in own if key[0] != "_" and not isinstance(own[key], tuple)}  # no parts
            fixed |= {f"{key} of the {part}": str(value) for key, value in plain.items()}
        return fixed

    def _heed(self, *, modules: bool = True) -> None:
        """Take in what changed in the pipeline where the result is that of a new model; refuse the rest by name."""
        if self._look() == self._seen and (not modules or self._look_at_modules() == self._modules):
            return
        parts = {part: part_of(self._owner, part) for part in self._taken}
        for part in self.parts:
            # A wrapper of `torch.compile` around the same network computes the same.
            if innermost(parts[part]) is not innermost(self._taken[part]):
                raise ModelError(f"the {part} of the pipeline was exchanged. {_AGAIN}")
        if self.pipeline is not self._owner:
            self.pipeline.scheduler = parts["scheduler"]
        check_parts(type(self), self.pipeline, type(self.pipeline).__name__)
        for name, now in self._read_fixed().items():
            if now != (before := self._fixed.get(name)):
                raise ModelError(f"the {name} changed from {before} to {now} after from_pipeline. {_AGAIN}")
        scheduled, known = (self._taken["scheduler"], self._configuration), self._modules
        self._taken, self._network = parts, parts[self.denoiser]
        self._network_dtype = parse_dtype(self._network.dtype)
        # Under offloading the parameters of the denoiser may be on the CPU between its calls.
        self._device = getattr(self.pipeline, "_execution_device", None) or self._network.device
        self._derive()
        if (parts["scheduler"], self._configuration) != scheduled:
            self._set_capabilities()
        self.follow(self._owner)
        if self._modules != known:
            self.check_purity()

    def check_purity(self) -> None:
        """Check in three calls of about the smallest size that the velocity does not depend on earlier calls."""
        able, what = self.capabilities, f"{self.denoiser} of this {type(self._owner).__name__}"
        # Not square, so that what a cache kept of the user's own calls does not fit.
        size = able.sizes[0], min(able.sizes[0] + able.size_multiple, able.sizes[2])
        try:
            z = draw((2, 1, *self.latent_shape(*size)), seed=0, purpose="purity").to(self._device, self.dtype)
            z[1] = z[0] + torch.finfo(self.compute_dtype).eps ** 0.5 * z[1]
            s, network = torch.full((1,), (able.s_min + able.s_max) / 2).to(z), innermost(self._network)
            text = self.embed([""])
            with self._at_work(), torch.no_grad(), uncompiled(), quiet_libraries():
                if how := remembers(network, lambda z, text: self._network_velocity(z, s, text), z, text):
                    raise impure(what, how)
        except BaseException as error:
            self._modules = []  # so that the next call checks again
            if isinstance(error, (LatentEditError, torch.OutOfMemoryError)) or not isinstance(error, Exception):
                raise
            raise ModelError(f"the {what} fails at its smallest size, {size[0]} x {size[1]} px: {error}") from error
        self.follow(self._owner)  # the first call may have added or removed hooks that move weights

    @contextlib.contextmanager
    def _at_work(self) -> Generator[None]:
        """Run networks of the pipeline as it is inside: in evaluation mode, each module as it was afterwards."""
        self._heed()
        with self._evaluating.open():
            yield

    def _evaluate(self) -> Callable[[], object]:
        """Put modules in training mode into evaluation mode, and return what puts them back."""
        parts = self._networks.values()
        modules = self.once("modules", lambda: [module for network in parts for module in network.modules()])
        training = [module for module in modules if module.training]
        for module in training:
            module.training = False
        return lambda: [setattr(module, "training", True) for module in training]

    def _set_shape(self, *, channels: int, scale: int, stride: int, widths: tuple[int, int] | None = None) -> None:
        """Set the geometry of latents and the widths of text (tokens, pooled).

        ``scale`` is the side of a latent in pixels; sides of latents are multiples of ``stride``.
        """
        self._channels, self._scale, self._stride, self._widths = channels, scale, stride, widths
        self._multiple = scale * stride

    @property
    def device(self) -> torch.device:
        """Device on which the networks run."""
        self._heed(modules=False)
        return self._device

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of latents and conditions: float32, or float64 if the network runs in it."""
        return torch.promote_types(self.network_dtype, torch.float32)

    @property
    def network_dtype(self) -> torch.dtype:
        """The dtype in which the networks run, except for the VAE."""
        self._heed(modules=False)
        return self._network_dtype

    def latent_shape(self, height_px: int, width_px: int) -> tuple[int, ...]:
        """``(channels, height / scale, width / scale)``; sides must be multiples of what the network needs."""
        multiple = self._multiple
        if min(height_px, width_px) < multiple or height_px % multiple or width_px % multiple:
            raise ShapeError(f"image sides are multiples of {multiple} px; got {height_px} x {width_px}")
        return (self._channels, height_px // self._scale, width_px // self._scale)

    def _velocity(
        self, z: Float[Tensor, "b *latent"], s: Float[Tensor, " b"], condition: Condition
    ) -> Float[Tensor, "b *latent"]:
        self._check_latents(z)
        self._check_condition(condition)
        with self._at_work(), self._graph(z, condition.tokens, condition.pooled):
            return self._network_velocity(z, s, condition)

    @property
    def compute_dtype(self) -> torch.dtype:
        """That of the network; bfloat16 for quantized weights, as some of their layers round what they are given."""
        return torch.bfloat16 if is_quantized(self._network) else super().compute_dtype

    def _layers(self) -> list[object]:
        """Modules and their parameters; those on the meta device are new ones after every call."""
        looks = [glance(network) for network in self._networks.values()]
        kept = [part for network in self._networks.values() for part in network.parameters()]
        return [self.dtype, *looks, *(None if part.is_meta else id(part) for part in kept)]

    @abc.abstractmethod
    def _network_velocity(
        self, z: Float[Tensor, "b *latent"], s: Float[Tensor, " b"], condition: Condition
    ) -> Float[Tensor, "b *latent"]:
        """The velocity that the network's output stands for, in the dtype of z; arguments are checked."""

    @contextlib.contextmanager
    def _graph(self, *inputs: Tensor) -> Generator[None]:
        """Record a graph only if one of these tensors requires it, not for parameters alone."""
        recorded = torch.is_grad_enabled() and any(part.requires_grad for part in inputs)
        with torch.set_grad_enabled(recorded), contextlib.ExitStack() as stack:
            if recorded and any(map(offloaded, self._networks.values())):
                # Hooks exchange a parameter's numbers after its layer ran: those that it ran with are saved instead.
                stack.enter_context(saved_tensors_hooks(torch.Tensor.detach, lambda saved: saved))
            yield

    def _sites(self) -> Mapping[str, Site]:
        return {name: site for blocks in self.blocks for name, site in blocks.sites(self._network)}

    def _attention(self) -> Mapping[str, Site]:
        return {name: site for blocks in self.blocks for name, site in blocks.layers(self._network)}

    def _image_tokens(self, z: Float[Tensor, "b *latent"], condition: Condition) -> int:
        images = (z, *(condition.reference or ()))
        return sum(latents.shape[-2] * latents.shape[-1] for latents in images) // self._stride**2

    def _sizes(self, trained_px: int, largest_px: int) -> tuple[int, int, int]:
        """Smallest, preferred and largest side: from the settings, or a quarter of the trained side and more."""
        multiple = self._multiple
        smallest = max(multiple, trained_px // 4 // multiple * multiple)
        sizes = [int(side) for side in self.defaults.get("sizes", (smallest, trained_px, largest_px))]
        if len(sizes) != 3 or sizes != sorted(sizes) or sizes[0] < multiple:
            raise ModelError(f"'sizes' are three rising sides of at least {multiple} px; got {sizes}")
        return (sizes[0], sizes[1], sizes[2])

    def _check_latents(self, z: Tensor) -> None:
        if z.ndim != 4 or z.shape[1] != self._channels or any(side % self._stride for side in z.shape[-2:]):
            raise ShapeError(
                f"latents are [b, {self._channels}, h, w] with h and w in multiples of {self._stride}; "
                f"got {list(z.shape)}"
            )

    def _check_condition(self, condition: Condition) -> None:
        widths = (condition.tokens.shape[-1], condition.pooled.shape[-1])
        if self._widths is not None and widths != self._widths:
            raise ShapeError(
                f"{self.name} takes conditions of widths {self._widths[0]} (tokens) and {self._widths[1]} (pooled); "
                f"got {widths[0]} and {widths[1]}. Embed the text with this model"
            )
        most, shown = self.capabilities.references, len(condition.reference or ())
        if shown > most:
            takes = f"at most {most}" if most else "no"
            raise ShapeError(f"{self.name} takes {takes} reference images; got {shown}. Leave them out")
        self._check_device(condition.tokens)

    def _check_pixels(self, pixels: Tensor) -> None:
        if pixels.ndim != 4 or pixels.shape[1] != 3:
            raise ShapeError(f"pixels must be [b, 3, h, w]; got {list(pixels.shape)}")
        self.latent_shape(pixels.shape[-2], pixels.shape[-1])
        self._check_device(pixels)

    def _check_device(self, tensor: Tensor) -> None:
        if tensor.device.type != self.device.type:
            raise DeviceError(f"the model is on {self.device}, a tensor on {tensor.device}. Move it with .to()")


def _first(network: nn.Module) -> Iterator[nn.Parameter]:
    """The first parameter, of a network that has any."""
    return itertools.islice(network.parameters(), 1)
