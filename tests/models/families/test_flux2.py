"""FLUX.2 klein, klein base and dev against their stock pipelines."""

import dataclasses
import functools
from collections.abc import Generator
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch
from diffusers.pipelines.flux2.pipeline_flux2 import compute_empirical_mu
from tokenizers.processors import TemplateProcessing
from torch import Tensor

import latentedit as le
from latentedit.core.rng import draw
from latentedit.models.codec import patchify, unpack, unpatchify
from latentedit.models.flux import Flux2Backbone
from latentedit.testing.tolerances import relative_error
from tests.miniatures.flow import flux2_dev, flux2_klein
from tests.models.families.family import (
    CAPTION,
    NO_CHAT,
    PARITY,
    SETTINGS,
    Distilled,
    FamilyContract,
    configured,
    noise_image,
    sampled_nearby,
    sized,
)

WORDS = 200
"""Text tokens of most tests, fewer than the 512 of the family, for speed; Mistral's system message takes 172."""


@pytest.fixture(autouse=True, scope="module")
def short_window() -> Generator[None]:
    """The stock pipelines are called with as many."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Flux2Backbone, "window", WORDS)
        yield


def normalized(pipeline: Any, latents: Tensor) -> Tensor:
    """Latents of the autoencoder in the statistics of its batch norm, by PyTorch's own."""
    patches = torch.nn.functional.batch_norm(
        patchify(latents),
        pipeline.vae.bn.running_mean.to(latents),
        pipeline.vae.bn.running_var.to(latents),
        eps=pipeline.vae.config.batch_norm_eps,
    )
    return unpatchify(patches)


class TestDev(FamilyContract):
    make = flux2_dev
    arguments: ClassVar[dict[str, Any]] = {"max_sequence_length": WORDS}
    guidance = (4.0, "embedded")
    room = WORDS - 172

    def stock_latents(self, z: Tensor) -> Tensor:
        return patchify(z)

    def own_latents(self, output: Tensor, like: Tensor) -> Tensor:
        return unpack(output, (like.shape[-2] // 2, like.shape[-1] // 2))


class TestKleinBase(TestDev):
    make = flux2_klein
    guidance = (4.0, "cfg")
    room = WORDS - 6  # of the chat
    other_width = ("text width of the denoiser is 48, .* 24", configured("transformer", joint_attention_dim=48))
    misfits = (NO_CHAT, other_width)

    def stock_image(self, pipeline: Any, weight: float, size: tuple[int, int], z: Tensor, **settings: Any) -> Any:
        """Latents come back in the autoencoder's own scale."""
        made = super().stock_image(pipeline, weight, size, z, **settings)
        return made if "output_type" in settings else normalized(pipeline, made)

    def own_latents(self, output: Tensor, like: Tensor) -> Tensor:
        return output


class TestKlein(Distilled, TestKleinBase):
    make = functools.partial(flux2_klein, distilled=True)


@pytest.mark.nightly
@pytest.mark.parametrize("size", [(64, 64), (64, 96)])
def test_sampling_with_references_equals_the_stock_pipeline(size: tuple[int, int]) -> None:
    """Two images of different sizes beside the latent, each at its own place."""
    pipeline = flux2_klein()
    backbone = le.from_pipeline(pipeline, settings=SETTINGS)
    images = [noise_image(64, 96), noise_image(80, 64)]
    z = draw((1, *backbone.latent_shape(*size)), seed=4, purpose="start")
    reference = tuple(backbone.encode(torch.as_tensor(pipeline.image_processor.preprocess(image))) for image in images)
    condition = dataclasses.replace(backbone.embed([CAPTION]), reference=reference)
    stock = pipeline(
        prompt=CAPTION,
        image=images,
        latents=patchify(z),
        guidance_scale=3.0,
        max_sequence_length=WORDS,
        **sized(size),
    ).images
    ours = sampled_nearby(backbone, condition, z, 3.0, size)
    assert relative_error(ours, normalized(pipeline, stock)) <= PARITY
    for site in ("double.0.image", "single.0.image"):
        tokens = sum(latents.shape[-2] * latents.shape[-1] // 4 for latents in (z, *reference))
        assert backbone.features(z, torch.tensor([0.5]), condition, site).shape[1] == tokens


def test_word_positions_are_exact_in_half_precision() -> None:
    """Beyond 256 bfloat16 knows even numbers only: positions reach the network in float32."""
    pipeline = flux2_klein().to(torch.bfloat16)
    backbone: Any = le.from_pipeline(pipeline, settings=SETTINGS)
    backbone.window = 512
    seen: list[Tensor] = []
    pipeline.transformer.pos_embed.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    z = draw((1, *backbone.latent_shape(64, 64)), seed=4, purpose="start")
    backbone.velocity(z, torch.tensor([0.5]), backbone.embed([""]))
    assert [float(position) for position in seen[1][:, 3]] == list(range(512))


def test_levels_depend_on_their_number_and_on_the_image() -> None:
    """The makers' shift, at two sizes and numbers of steps each side of their limits."""
    backbone: Any = le.from_pipeline(flux2_klein(), settings=SETTINGS)
    for tokens in (16, 4096, 4300, 4301, 9000):
        for steps in (4, 50, 300):
            assert backbone._mu(None, tokens, steps) == pytest.approx(compute_empirical_mu(tokens, steps), rel=1e-12)


def test_a_processor_reads_as_its_tokenizer() -> None:
    """Dev's live pipelines have one where a folder's text needs the tokenizer alone.

    The mark of the beginning counts once, as part of the chat, also where a tokenizer would add it to a plain text.
    """
    plain, processed = flux2_dev(), flux2_dev()
    tokenizer = processed.tokenizer
    processor = type("Processor", (SimpleNamespace,), {"__module__": __name__})
    processed.tokenizer = processor(
        tokenizer=tokenizer, chat_template=tokenizer.chat_template, apply_chat_template=tokenizer.apply_chat_template
    )
    first, second = (le.from_pipeline(pipeline, settings=SETTINGS) for pipeline in (plain, processed))
    notes = first.caption_notes(["x" * 600])
    assert torch.equal(first.embed([CAPTION]).tokens, second.embed([CAPTION]).tokens)
    assert second.caption_notes(["x" * 600]) == notes != []
    marks, marking = [("<s>", tokenizer.convert_tokens_to_ids("<s>"))], TemplateProcessing
    tokenizer._tokenizer.post_processor = marking(single="<s> $A", special_tokens=marks)  # type: ignore[call-arg]
    assert tokenizer.num_special_tokens_to_add() == 1
    assert second.caption_notes(["x" * 600]) == notes
