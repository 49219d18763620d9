"""Stable Diffusion XL against its stock pipelines: base, Turbo, and a fine-tune on v with zero terminal SNR."""

import functools

from diffusers import EDMEulerScheduler, EulerDiscreteScheduler
from torch import Tensor

from tests.miniatures.noise import sdxl
from tests.models.families.family import DDIM, Distilled, Variants, VPContract, set_config

TRAILING = {"timestep_spacing": "trailing"}
ZERO_SNR = {**TRAILING, "prediction_type": "v_prediction", "rescale_betas_zero_snr": True}
LARGEST = 14.6146  # noise over signal at the last trained time of the family's betas


class TestBase(VPContract, Variants):
    make = functools.partial(sdxl, settings=DDIM)
    null_is_the_empty_text = False
    guidance = (5.0, "cfg")
    daily_variants = ("fp8", "lora")
    invalid_changes = (
        (
            r"36.*40",
            set_config("unet", projection_class_embeddings_input_dim=16 + 5 * 4),
        ),
        (r"32.*24", set_config("unet", cross_attention_dim=32)),
        ("EDMEulerScheduler", lambda pipeline: setattr(pipeline, "scheduler", EDMEulerScheduler())),
    )


class TestTurbo(VPContract, Distilled):
    """Distilled: no guidance. Euler's method on noise over signal, the published sampler, is DDIM."""

    make = functools.partial(sdxl, EulerDiscreteScheduler, settings=TRAILING)
    null_is_the_empty_text = False
    kind_at_one = "cfg"

    def stock_latents(self, z: Tensor) -> Tensor:
        """The scheduler starts at ``sigma`` times noise; with images of unit variance this is ``|(1, sigma)|``."""
        return z * (1 + LARGEST**2) ** 0.5 / LARGEST


class TestFineTune(VPContract):
    """Playground's latents, and the empty text under guidance; trailing times do not mark a distilled model."""

    make = functools.partial(sdxl, settings={**DDIM, **ZERO_SNR}, force_zeros=False, statistics=True)
    guidance = (5.0, "cfg")
