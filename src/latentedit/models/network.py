"""What adapters share, whatever their network: where it runs, in which dtype, its sizes, codec and checks."""

import abc
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, ClassVar, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.core.errors import DeviceError, ModelError, ShapeError
from latentedit.models.base import Backbone
from latentedit.models.capabilities import Capabilities
from latentedit.models.folder_settings import check_settings
from latentedit.models.loading import ModelFolder, computing
from latentedit.models.notes import word_pieces
from latentedit.models.placement import Placement, contiguous_norms, existing_device, known_dtype, place

CLIP_TOKENIZERS = ("CLIPTokenizer", "CLIPTokenizerFast")
GEMMA_TOKENIZERS = ("GemmaTokenizer", "GemmaTokenizerFast")
QWEN_TOKENIZERS = ("Qwen2Tokenizer", "Qwen2TokenizerFast")
T5_TOKENIZERS = ("T5Tokenizer", "T5TokenizerFast")


_Adapter = TypeVar("_Adapter", bound="NetworkBackbone")


class NetworkBackbone(Backbone):
    """A backbone whose networks are those of a pipeline of diffusers, taken as they are.

    Nothing is moved, cast or copied: networks run where and as their pipeline, or `latentedit.models.placement`, has
    put them, with its hooks, adapters and quantised layers. Coordinates and conditions are float32 or better.
    Graphs for derivatives are recorded where latents or text ask for them, and not for the parameters alone.

    Args:
        components: of the pipeline by name, see `parts`.
        name: for messages and records.
        fingerprint: of the weights; none by default.
        settings: content of the folder's ``latentedit.json``. Every adapter reads "guidance" (default weight) and
            "sizes" (smallest, preferred and largest side in pixels), those with text "vocabulary" (words seen in
            training).
        device: on which the networks run; None is where the denoiser's parameters lie.
        pipeline: class of the pipeline, where several share an adapter.
        configuration: what else ``model_index.json`` says of the pipeline.

    Raises:
        ConfigError: networks in a dtype that makes no sense.
        DeviceError: a device that this machine lacks.
        ModelError: parts or settings that do not fit together.
    """

    denoiser: ClassVar[str] = "transformer"
    """The part that predicts."""

    @classmethod
    def from_folder(
        cls: type[_Adapter], folder: ModelFolder, *, name: str, placement: Placement, **options: Any
    ) -> _Adapter:
        """Load the parts of a checked folder.

        Args:
            folder: checked by `open_folder`.
            name: for messages and records.
            placement: of the networks.
            options: of the adapter itself.

        Raises:
            ModelError: weights that do not match their configuration, and what the class itself raises.
        """
        components = folder.components(placement.dtype)
        place(components, placement, denoiser=cls.denoiser)
        return cls._build_from(folder, components, name=name, device=placement.device, **options)

    @classmethod
    def _build_from(cls, folder: ModelFolder, components: Mapping[str, Any], **settings: Any) -> Any:
        adapter: Any = cls
        return adapter(
            components,
            fingerprint=folder.fingerprint,
            settings=folder.settings,
            pipeline=folder.pipeline,
            configuration=folder.configuration,
            **settings,
        )

    def _settle(
        self,
        components: Mapping[str, Any],
        *,
        channels: int,
        scale: int,
        stride: int,
        name: str,
        fingerprint: str = "",
        settings: Mapping[str, Any] | None = None,
        device: torch.device | str | None = None,
        pipeline: str = "",
        configuration: Mapping[str, Any] | None = None,
        widths: tuple[int, int] | None = None,
    ) -> None:
        """Keep what the folder or the pipeline says; `_declare` ends what this begins.

        Args:
            components: see the class; so with the others that are not here.
            channels: of a latent.
            scale: pixels a side of one latent.
            stride: sides of latents are multiples of this.
            widths: of a token and of the pooled text; None where conditions are not looked at.
        """
        self._components = components
        self._network: Any = contiguous_norms(components[self.denoiser]).eval()
        self._network_dtype = known_dtype(self._network.dtype)
        self._device = self._network.device if device is None else existing_device(device)
        self._channels, self._scale, self._stride = channels, scale, stride
        self._multiple = scale * stride
        self._pipeline, self._configuration = pipeline, dict(configuration or {})
        self._widths = widths
        self.name, self.fingerprint = name, fingerprint
        self.defaults: Mapping[str, Any] = check_settings(settings or {}, name)

    def _declare(self, capabilities: Capabilities) -> None:
        Backbone.__init__(self, name=self.name, fingerprint=self.fingerprint, capabilities=capabilities)

    def _vocabulary(self) -> frozenset[str] | None:
        """Words that the model met in training; None where that is unknown."""
        known = self.defaults.get("vocabulary")
        return None if known is None else word_pieces(known)

    @property
    def device(self) -> torch.device:
        """Where the networks live."""
        return self._device

    @property
    def dtype(self) -> torch.dtype:
        """Of latents and conditions: float32, or float64 where the network runs in it."""
        return torch.promote_types(self._network_dtype, torch.float32)

    @property
    def network_dtype(self) -> torch.dtype:
        """The dtype in which the networks run, but for the picture codec."""
        return self._network_dtype

    def latent_shape(self, height_px: int, width_px: int) -> tuple[int, ...]:
        """``(channels, height / scale, width / scale)``.

        Raises:
            ShapeError: sides that are not positive multiples of what the network needs.
        """
        multiple = self._multiple
        if min(height_px, width_px) < multiple or height_px % multiple or width_px % multiple:
            raise ShapeError(f"picture sides are multiples of {multiple} px; got {height_px} x {width_px}")
        return (self._channels, height_px // self._scale, width_px // self._scale)

    def _velocity(
        self, z: Float[Tensor, "b *latent"], s: Float[Tensor, " b"], condition: Condition
    ) -> Float[Tensor, "b *latent"]:
        self._check_latents(z)
        self._check_condition(condition)
        with self._graph(z, condition.tokens, condition.pooled), computing(self.name):
            return self._network_velocity(z, s, condition)

    @abc.abstractmethod
    def _network_velocity(
        self, z: Float[Tensor, "b *latent"], s: Float[Tensor, " b"], condition: Condition
    ) -> Float[Tensor, "b *latent"]:
        """What the network's output at these latents stands for, in the dtype of z; everything fits."""

    @staticmethod
    def _graph(*inputs: Tensor) -> AbstractContextManager[object]:
        """Inside, a graph is recorded if one of these tensors asks for it: parameters alone are no reason."""
        return torch.set_grad_enabled(torch.is_grad_enabled() and any(part.requires_grad for part in inputs))

    def _image_tokens(self, z: Float[Tensor, "b *latent"], condition: Condition) -> int:
        pictures = (z, *(condition.reference or ()))
        return sum(latents.shape[-2] * latents.shape[-1] for latents in pictures) // self._stride**2

    def _sizes(self, trained_px: int, largest_px: int) -> tuple[int, int, int]:
        """Smallest, preferred and largest side: a quarter of the trained one and more, or what the folder says."""
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
            raise ShapeError(f"{self.name} takes {takes} reference pictures; got {shown}. Leave them out")
        self._check_device(condition.tokens)

    def _check_pixels(self, pixels: Tensor) -> None:
        if pixels.ndim != 4 or pixels.shape[1] != 3:
            raise ShapeError(f"pixels are [b, 3, h, w]; got {list(pixels.shape)}")
        self.latent_shape(pixels.shape[-2], pixels.shape[-1])
        self._check_device(pixels)

    def _check_device(self, tensor: Tensor) -> None:
        if tensor.device.type != self._device.type:
            raise DeviceError(f"the model is on {self._device}, a tensor on {tensor.device}. Move it with .to()")
