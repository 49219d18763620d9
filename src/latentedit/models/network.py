"""Base of the adapters of diffusers pipelines: device, dtype, latent shape and checks."""

import contextlib
import functools
import itertools
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from latentedit.core.errors import DeviceError, LatentEditError, ModelError, ShapeError
from latentedit.core.process import SharedContext
from latentedit.models.attention import uncompiled
from latentedit.models.base import Backbone
from latentedit.models.capabilities import Capabilities
from latentedit.models.libraries import quiet_libraries
from latentedit.models.model_settings import MAX_SIDE_PX, check_settings
from latentedit.models.pipelines import adapted, config_of, fitting, innermost, offloaded, part_of
from latentedit.models.probe import dependence_error, find_remedy, packages_of, probe_velocity
from latentedit.models.sites import Blocks, Site
from latentedit.models.user_code import describe_user_code, module_state
from latentedit.models.weights import digest, is_quantized, weights_digest
from latentedit.numerics.condition import Condition
from latentedit.numerics.cost import counting, spend
from latentedit.numerics.device import parse_dtype, plain_default
from latentedit.numerics.rng import draw

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
        settings: as in ``latentedit.json``. Every adapter reads "guidance" (default weight) and "sizes" (smallest,
            preferred and largest side in pixels); adapters with text read "vocabulary" (words seen in training).

    Raises:
        ConfigError, ModelError: a dtype that networks do not run in, or parts that do not fit.
    """

    blocks: ClassVar[tuple[Blocks, ...]] = ()
    """Blocks of the denoiser, in the order in which it runs them."""

    guidance: ClassVar[float] = 1.0
    """Guidance weight that the makers publish, where 1 is the conditional velocity."""

    stored_as: str = ""
    """The class of the pipeline as a folder names it; empty for a live one."""

    def __init__(self, pipeline: Any, *, name: str, settings: Mapping[str, Any] | None = None) -> None:
        super().__init__(name=name, fingerprint="", capabilities=Capabilities())
        self.pipeline = pipeline
        self.defaults: Mapping[str, Any] = check_settings(settings or {}, name)
        parts: dict[str, Any] = {part: getattr(pipeline, part, None) for part in self.parts}
        self._networks = {part: network for part, network in parts.items() if isinstance(network, nn.Module)}
        self._evaluating = SharedContext(self._evaluate)
        self._network: Any = parts[self.denoiser]
        self._network_dtype = parse_dtype(self._network.dtype)
        # Under offloading the parameters of the denoiser may be on the CPU between its calls.
        self._device = getattr(pipeline, "_execution_device", None) or self._network.device
        self._configuration = self.configuration(getattr(pipeline, "scheduler", None), config_of(parts.get("vae")))
        self.follow(pipeline)

    def follow(self, pipeline: Any) -> None:
        """Track later changes of this pipeline; the stock pipeline shares its parts."""
        self._source = pipeline
        self._resident = [network for network in self._networks.values() if not offloaded(network)]
        self._seen, self._modules = self._look(), self._look_at_modules()

    @classmethod
    def configuration(cls, scheduler: Any, vae: Mapping[str, Any]) -> dict[str, Any]:
        """The numbers with which latents are normalized; families add those of the scheduler."""
        return {"family": cls.__name__} | {f"vae.{name}": vae[name] for name in _OF_CODECS if vae.get(name)}

    def _identity(self) -> str:
        self._follow_changes()
        return digest([*sorted(self._digests().items()), sorted(self._configuration.items())])

    @property
    def encoders(self) -> str:
        """Fingerprint and dtypes of the parts other than the denoiser."""
        self._follow_changes()
        others = {part: one for part, one in self._digests().items() if part != self.denoiser}
        dtypes = [str(first.dtype) for part in others for first in _first(self._networks[part])]
        codec = [entry for entry in self._configuration.items() if entry[0].startswith("vae.")]
        return digest([*sorted(others.items()), dtypes, sorted(codec)])

    def _digests(self) -> dict[str, str]:
        """A digest of each network as it is."""
        networks = self._networks.items()

        def compute() -> dict[str, str]:
            return {part: self._digest(network) for part, network in networks}

        return self.once("digests", compute)

    def _digest(self, network: nn.Module) -> str:
        """A digest of the weights of a network, and of the user's code in it."""
        weights = weights_digest(network, self.half)
        user_code = describe_user_code(innermost(network), packages_of(type(self)))
        return digest([weights, user_code]) if user_code else weights

    def _look(self) -> list[object]:
        """At a glance, everything besides modules from which values were derived here."""
        parts = {part: part_of(self._source, part) for part in (*self.parts, "scheduler")}
        scheduler, denoiser, vae = parts["scheduler"], parts[self.denoiser], parts.get("vae")
        places = [(first.device, first.dtype) for network in self._resident for first in _first(network)]
        configs = [config_of(part) for part in (self._source, denoiser, scheduler, vae)]
        states = [getattr(denoiser, "encoder_hid_proj", None), getattr(scheduler, "shift", None)]
        numbers = [str(config_of(vae).get(name)) for name in _OF_CODECS]  # lists may be changed in place
        return [*parts.values(), *configs, *states, *places, *numbers]

    def _look_at_modules(self) -> tuple[list[object], ...]:
        """At a glance, how the modules compute: first those of the denoiser."""
        parts = [part_of(self._source, part) for part in dict.fromkeys((self.denoiser, *self.parts))]
        networks = [innermost(part) for part in parts if isinstance(part, nn.Module)]
        encoding = vars(self._source).get("encode_prompt") if hasattr(self._source, "__dict__") else None
        return (*map(module_state, networks), [encoding])

    def _follow_changes(self, *, modules: bool = True) -> None:
        """Adapt to the pipeline again if it changed, as a new model would; `unchanged` did so when it began."""
        if self._known is None:
            self._adapt_again(modules=modules)

    def _adapt_again(self, *, modules: bool) -> None:
        if self._look() == self._seen and (not modules or self._look_at_modules() == self._modules):
            return
        adapter, stock = adapted(self._source, self.stored_as)
        if adapter is not type(self):
            raise ModelError(f"the pipeline holds a model of another family ({adapter.__name__}) now. {_AGAIN}")
        with fitting(stock):
            new = adapter(stock, name=self.name, settings=self.defaults)
        new.follow(self._source)
        if new._modules[0] != self._modules[0]:
            with counting(new) as cost:
                new.check_velocity()
            spend(self, cost.evaluations)
        for name in [*vars(self)]:
            if isinstance(getattr(type(self), name, None), functools.cached_property):
                del vars(self)[name]
        vars(self).update(vars(new) | {"_evaluating": self._evaluating, "_known": self._known})

    def check_velocity(self) -> None:
        """Raise a `ModelError` if the velocity of a latent depends on other calls or latents.

        Cost:
            Six evaluations in three calls at about the smallest size, the first with four images.
        """
        subject = f"{self.denoiser} of this {type(self._source).__name__}"
        smallest, _, largest = self.capabilities.sizes
        # The sides differ, so that what a cache kept of the user's own calls does not fit.
        longer_side = min(smallest + self.capabilities.size_multiple, largest)
        try:
            dependence = self._probe(smallest, longer_side)
        except (LatentEditError, torch.OutOfMemoryError):
            raise
        except Exception as error:
            problem = f"fails at its smallest size, {smallest} x {longer_side} px"
            raise ModelError(f"the {subject} {problem}: {error}") from error
        if dependence:
            remedy = find_remedy(innermost(self._network), packages_of(type(self)))
            raise dependence_error(subject, dependence, remedy)
        self.follow(self._source)  # the first call may have added or removed hooks that move weights

    def _probe(self, height_px: int, width_px: int) -> str:
        """Return how the velocity depends on other calls or images; see `probe_velocity`."""
        with plain_default():
            noise = draw((2, *self.latent_shape(height_px, width_px)), seed=0, purpose="probe")
            latents = noise.to(self._device, self.dtype)
            middle = (self.capabilities.s_min + self.capabilities.s_max) / 2
            s = torch.full((1,), middle).to(latents)
        condition = self.embed([""])

        def velocity(z: Tensor, condition: Condition) -> Tensor:
            spend(self, len(z))
            return self._velocity(z, s.expand(len(z)), condition)

        rounding_error = torch.finfo(self.compute_dtype).eps
        with self.unchanged(), torch.no_grad(), uncompiled(), quiet_libraries():
            return probe_velocity(velocity, latents, condition, rounding_error=rounding_error)

    @contextlib.contextmanager
    def unchanged(self) -> Generator[None]:
        """The pipeline is looked at once, and is in evaluation mode all the while; see `Backbone.unchanged`."""
        is_inside = self._known is not None
        with super().unchanged():
            if is_inside:
                yield
                return
            self._adapt_again(modules=True)
            with self._evaluating.open():
                yield

    @contextlib.contextmanager
    def _at_work(self) -> Generator[None]:
        """Run networks of the pipeline as it is inside: in evaluation mode, each module as it was afterwards."""
        self._follow_changes()
        with self._evaluating.open(), plain_default():
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
        if self._known is None:
            self._follow_changes(modules=False)
        return self._device

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of latents and conditions: float32, or float64 if the network runs in it."""
        return torch.promote_types(self.network_dtype, torch.float32)

    @property
    def network_dtype(self) -> torch.dtype:
        """The dtype in which the networks run, except for the VAE."""
        self._follow_changes(modules=False)
        return self._network_dtype

    def latent_shape(self, height_px: int, width_px: int) -> tuple[int, ...]:
        """``(channels, height / scale, width / scale)``; sides must be multiples of what the network needs."""
        multiple = self._multiple
        if min(height_px, width_px) < multiple or height_px % multiple or width_px % multiple:
            raise ShapeError(f"image sides are multiples of {multiple} px; got {height_px} x {width_px}")
        return (self._channels, height_px // self._scale, width_px // self._scale)

    @property
    def compute_dtype(self) -> torch.dtype:
        """The network's dtype. For quantized weights bfloat16, since some of their layers round their input."""
        return torch.bfloat16 if is_quantized(self._network) else super().compute_dtype

    def _layers(self) -> list[object]:
        """Modules and their parameters; those on the meta device are new ones after every call."""
        looks = [module_state(network) for network in self._networks.values()]
        kept = [part for network in self._networks.values() for part in network.parameters()]
        return [self.dtype, *looks, *(None if part.is_meta else id(part) for part in kept)]

    @contextlib.contextmanager
    def _running(self, *inputs: Tensor) -> Generator[None]:
        """Run networks inside; a graph is recorded if one of these requires it, not for parameters alone."""
        recorded = torch.is_grad_enabled() and any(part.requires_grad for part in inputs)
        with self._at_work(), torch.set_grad_enabled(recorded), contextlib.ExitStack() as stack:
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
        if sizes[1] > MAX_SIDE_PX:
            raise ModelError(
                f"the network's sample_size means images of {sizes[1]:,} px; the most are {MAX_SIDE_PX:,}. "
                "Download the folder again"
            )
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
        if not isinstance(pixels, Tensor):  # a user may pass anything
            got = f"pixels must be a tensor [b, 3, h, w]; got {type(pixels).__name__}"
            raise ShapeError(f"{got}. For an image: latentedit.encode(model, image)")
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
