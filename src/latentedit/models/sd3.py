"""Stable Diffusion 3 and 3.5 as a velocity field, and every smaller model of the same classes.

Conventions of the family, all confined to this module and `sd3_text`:

- Time: the network takes ``t = s * num_train_timesteps`` (1000), s itself being the noise fraction; no reversal.
- Sign: its output is ``E[e - x | z, c]``, the velocity of this package; no negation. Euler falls from s = 1 to 0.
- Latent: ``x = (mode of the VAE's posterior - shift_factor) * scaling_factor``.
- Guidance: weight w is ``v(n) + w (v(c) - v(n))`` with n the empty text; w = 1 is the conditional velocity.
- Levels: FlowMatchEulerDiscreteScheduler shifts its smallest level once when it is built and again when it makes the
  grid (shift 3: 0.0030 becomes 0.0089), so a grid is taken from a scheduler built afresh from its configuration.
- Text: see `sd3_text`.

The network and the text encoders run in the dtype that is asked for; coordinates, guidance and the VAE in float32.
Parameters are frozen and nothing is computed under ``no_grad``: latents can be differentiated through.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.core.errors import CoordinateError, ModelError, ShapeError
from latentedit.core.levels import LevelGrid
from latentedit.models.base import Capabilities
from latentedit.models.loading import ModelFolder
from latentedit.models.network import NetworkBackbone
from latentedit.models.placement import existing_device, known_dtype, placed
from latentedit.models.sd3_parts import SD3Parts, fresh_scheduler, load_sd3_parts
from latentedit.models.sd3_text import SD3Text
from latentedit.models.sites import Site
from latentedit.models.text_part import word_pieces
from latentedit.models.weights import fingerprint

T5_TOKENS = 256
ZERO_TOKENS = 1


class StableDiffusion3Backbone(NetworkBackbone):
    """SD3, SD3.5 and their miniatures: ``v(z, s, c) = transformer(z, 1000 s, tokens, pooled)``.

    Args:
        parts: the networks; they are moved to the device and frozen.
        name: for messages and records.
        fingerprint: of the weights.
        settings: content of the folder's ``latentedit.json``. Read here: "guidance" (default weight), "sizes"
            (smallest, preferred and largest side in pixels), "zero_tokens", "vocabulary" (words seen in training).
        device: None is CUDA where there is one, else the CPU.
        dtype: of the transformer and the text encoders; None is float32.
        max_sequence_length: number of T5 tokens, or of zero tokens in place of an absent T5. None is 256 with T5 and,
            without, ``settings["zero_tokens"]`` or 1, which is several times faster on small pictures.

    Raises:
        ConfigError: a dtype or length that makes no sense.
        DeviceError: a device that this machine lacks.
        ModelError: parts that do not fit together.
    """

    def __init__(
        self,
        parts: SD3Parts,
        *,
        name: str,
        fingerprint: str = "",
        settings: Mapping[str, Any] | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        max_sequence_length: int | None = None,
    ) -> None:
        self._settle(settings, device, dtype)
        self._transformer = placed(parts.transformer, self._device, self._network_dtype)
        self._vae = placed(parts.vae, self._device, self.dtype)
        self._vae.enable_slicing()  # one at a time: memory and rounding do not depend on the batch
        self._scheduler = parts.scheduler
        self._patch = int(parts.transformer.config.patch_size)
        self._scale = 2 ** (len(parts.vae.config.block_out_channels) - 1)
        for part in (*parts.clips, *([parts.t5] if parts.t5 else [])):
            placed(part.encoder, self._device, self._network_dtype)
        if max_sequence_length is None:
            max_sequence_length = int(self.defaults.get("zero_tokens", ZERO_TOKENS)) if parts.t5 is None else T5_TOKENS
        vocabulary = self.defaults.get("vocabulary")
        self._text = SD3Text(
            clips=parts.clips,
            t5=parts.t5,
            width=int(parts.transformer.config.joint_attention_dim),
            length=max_sequence_length,
            vocabulary=None if vocabulary is None else word_pieces(vocabulary),
        )
        super().__init__(name=name, fingerprint=fingerprint, capabilities=self._make_capabilities(name))

    @classmethod
    def from_folder(
        cls,
        folder: ModelFolder,
        *,
        name: str,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        max_sequence_length: int | None = None,
    ) -> "StableDiffusion3Backbone":
        """Load the parts of a checked folder. Real SD3 without its T5 gets the stock pipeline's 256 zero tokens.

        Raises:
            ModelError: weights that do not match their configuration, and what the class itself raises.
        """
        chosen = existing_device(device)
        parts = load_sd3_parts(folder, known_dtype(dtype))
        if max_sequence_length is None and "text_encoder_3" in folder.left_out and "zero_tokens" not in folder.settings:
            max_sequence_length = T5_TOKENS
        return cls(
            parts,
            name=name,
            fingerprint=fingerprint(folder.weights),
            settings=folder.settings,
            device=chosen,
            dtype=dtype,
            max_sequence_length=max_sequence_length,
        )

    def latent_shape(self, height_px: int, width_px: int) -> tuple[int, ...]:
        """``(channels, height / 8, width / 8)`` for the usual VAE.

        Raises:
            ShapeError: sides that are not positive multiples of the VAE's scale times the patch.
        """
        multiple = self._scale * self._patch
        if min(height_px, width_px) < multiple or height_px % multiple or width_px % multiple:
            raise ShapeError(f"expected picture sides in multiples of {multiple} px; got {height_px} x {width_px}")
        return (self._channels, height_px // self._scale, width_px // self._scale)

    def grid(self, steps: int, *, height_px: int = 0, width_px: int = 0) -> LevelGrid:
        """The levels of the stock scheduler, dynamic shifting by picture size included where it asks for that.

        ``mu = base_shift + (max_shift - base_shift) (n - n_base) / (n_max - n_base)`` for n image tokens.
        """
        if steps < 1:
            raise CoordinateError(f"expected at least one step; got {steps}")
        scheduler: Any = fresh_scheduler(self._scheduler)
        config = scheduler.config
        mu = None
        if config.use_dynamic_shifting:
            preferred = self.capabilities.sizes[1]
            _, height, width = self.latent_shape(height_px or preferred, width_px or preferred)
            tokens = (height // self._patch) * (width // self._patch)
            slope = (config.max_shift - config.base_shift) / (config.max_image_seq_len - config.base_image_seq_len)
            mu = tokens * slope + config.base_shift - slope * config.base_image_seq_len
        scheduler.set_timesteps(steps, device="cpu", mu=mu)
        return LevelGrid(levels=tuple(min(float(level), 1.0) for level in scheduler.sigmas))

    def embed(self, texts: Sequence[str]) -> Condition:
        """Texts as the stock pipeline embeds them; see `sd3_text`."""
        return self._text.embed(texts)

    def caption_notes(self, texts: Sequence[str]) -> list[str]:
        """Words dropped for length, and words that training never showed, as sentences."""
        return self._text.notes(texts)

    def encode(self, pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b c lh lw"]:
        """``(mode - shift_factor) * scaling_factor`` of the VAE's posterior.

        Raises:
            ShapeError: not [b, 3, h, w], or sides that do not fit the network.
            DeviceError: on another device.
        """
        self._check_pixels(pixels)
        mode: Tensor = self._vae.encode(pixels.to(self.dtype)).latent_dist.mode()
        return (mode - self._vae_shift) * self._vae.config.scaling_factor

    def decode(self, z: Float[Tensor, "b c lh lw"]) -> Float[Tensor, "b 3 h w"]:
        """The VAE's picture of ``z / scaling_factor + shift_factor``."""
        self._check_latents(z)
        self._check_device(z)
        latents = z.to(self.dtype) / self._vae.config.scaling_factor + self._vae_shift
        return self._vae.decode(latents, return_dict=False)[0]

    def _velocity(
        self, z: Float[Tensor, "b *latent"], s: Float[Tensor, " b"], condition: Condition
    ) -> Float[Tensor, "b *latent"]:
        self._check_latents(z)
        config = self._transformer.config
        widths = (condition.tokens.shape[-1], condition.pooled.shape[-1])
        if widths != (config.joint_attention_dim, config.pooled_projection_dim):
            raise ShapeError(
                f"expected a condition of widths {config.joint_attention_dim} (tokens) and "
                f"{config.pooled_projection_dim} (pooled); got {widths[0]} and {widths[1]}"
            )
        self._check_device(condition.tokens)
        dtype = self._network_dtype
        v: Tensor = self._transformer(
            hidden_states=z.to(dtype),
            timestep=s.to(torch.promote_types(s.dtype, torch.float32)) * self._train_steps,
            encoder_hidden_states=condition.tokens.to(dtype),
            pooled_projections=condition.pooled.to(dtype),
            return_dict=False,
        )[0]
        return v.to(z.dtype)

    def _sites(self) -> Mapping[str, Site]:
        """The two streams after each block; the last block has no text stream."""
        sites: dict[str, Site] = {}
        for index, block in enumerate(self._transformer.transformer_blocks):
            if not block.context_pre_only:
                sites[f"block.{index}.text"] = Site(module=block, item=0)
            sites[f"block.{index}.image"] = Site(module=block, item=1)
        return sites

    @property
    def _channels(self) -> int:
        return int(self._transformer.config.in_channels)

    @property
    def _train_steps(self) -> int:
        return int(self._scheduler["num_train_timesteps"])

    @property
    def _vae_shift(self) -> float:
        return float(self._vae.config.shift_factor or 0.0)

    def _make_capabilities(self, name: str) -> Capabilities:
        config = self._transformer.config
        multiple = self._scale * self._patch
        preferred = int(config.sample_size) * self._scale
        largest = int(config.pos_embed_max_size) * multiple if config.pos_embed_max_size else preferred
        smallest = max(multiple, preferred // 4 // multiple * multiple)
        sizes = [int(side) for side in self.defaults.get("sizes", (smallest, preferred, largest))]
        if len(sizes) != 3 or sizes != sorted(sizes) or sizes[0] < multiple or sizes[2] > largest:
            raise ModelError(f"expected three rising sides from {multiple} to {largest} px as 'sizes'; got {sizes}")
        guidance = float(self.defaults.get("guidance", _published_guidance(config, name)))
        return Capabilities(guidance=guidance, size_multiple=multiple, sizes=(sizes[0], sizes[1], sizes[2]))

    def _check_latents(self, z: Tensor) -> None:
        limit = self._transformer.config.pos_embed_max_size
        largest = int(limit) * self._patch if limit else max(z.shape[-2:])
        if z.ndim != 4 or z.shape[1] != self._channels or any(side % self._patch for side in z.shape[-2:]):
            raise ShapeError(
                f"expected latents [b, {self._channels}, h, w] with h and w in multiples of {self._patch}; "
                f"got {list(z.shape)}"
            )
        if max(z.shape[-2:]) > largest:
            raise ShapeError(
                f"expected latents of at most {largest} x {largest} ({largest * self._scale} px); got {list(z.shape)}"
            )


def _published_guidance(config: Any, name: str) -> float:
    """The weight in the model cards' examples: SD3.5 Turbo none, SD3.5 Medium 4.5, SD3.5 Large 3.5, SD3 7."""
    if "turbo" in name.lower():
        return 1.0
    if config.dual_attention_layers:
        return 4.5
    return 3.5 if config.qk_norm else 7.0
