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
from latentedit.models.codec import patchify, unpack, unpatchify
from latentedit.models.families.flux import Flux2Backbone
from latentedit.numerics.rng import draw
from tests.miniatures.flow import flux2_dev, flux2_klein
from tests.models.families.family import (
    CAPTION,
    NO_CHAT,
    PARITY,
    SETTINGS,
    Distilled,
    FamilyContract,
    call_arguments,
    noise_image,
    sample_with_references,
    set_config,
)
from tests.testing.tolerances import relative_error

TOKENS = 200
"""Text tokens of most tests: fewer than the family's 512, for speed. Mistral's system message takes 172."""


@pytest.fixture(autouse=True, scope="module")
def short_window() -> Generator[None]:
    """The stock pipelines get the same number of tokens."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Flux2Backbone, "window", TOKENS)
        yield


def normalized(pipeline: Any, latents: Tensor) -> Tensor:
    """Latents normalized with the statistics of the autoencoder's batch norm, by PyTorch."""
    patches = torch.nn.functional.batch_norm(
        patchify(latents),
        pipeline.vae.bn.running_mean.to(latents),
        pipeline.vae.bn.running_var.to(latents),
        eps=pipeline.vae.config.batch_norm_eps,
    )
    return unpatchify(patches)


class TestDev(FamilyContract):
    make = flux2_dev
    arguments: ClassVar[dict[str, Any]] = {"max_sequence_length": TOKENS}
    guidance = (4.0, "embedded")
    longest_caption = TOKENS - 172

    def stock_latents(self, z: Tensor) -> Tensor:
        return patchify(z)

    def canonical_latents(self, output: Tensor, like: Tensor) -> Tensor:
        return unpack(output, (like.shape[-2] // 2, like.shape[-1] // 2))


class TestKleinBase(TestDev):
    make = flux2_klein
    guidance = (4.0, "cfg")
    longest_caption = TOKENS - 6  # the chat takes 6
    other_width = (r"48.*24", set_config("transformer", joint_attention_dim=48))
    invalid_changes = (NO_CHAT, other_width)

    def stock_image(self, pipeline: Any, weight: float, size: tuple[int, int], z: Tensor, **settings: Any) -> Any:
        """The pipeline returns latents in the autoencoder's scale."""
        output = super().stock_image(pipeline, weight, size, z, **settings)
        return output if "output_type" in settings else normalized(pipeline, output)

    def canonical_latents(self, output: Tensor, like: Tensor) -> Tensor:
        return output


class TestKlein(Distilled, TestKleinBase):
    make = functools.partial(flux2_klein, distilled=True)


@pytest.mark.nightly
@pytest.mark.parametrize("size", [(64, 64), (64, 96)])
def test_sampling_with_references_equals_the_stock_pipeline(size: tuple[int, int]) -> None:
    """Two reference images of different sizes, each with its own positions."""
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
        max_sequence_length=TOKENS,
        **call_arguments(size),
    ).images
    ours = sample_with_references(backbone, condition, z, 3.0, size)
    assert relative_error(ours, normalized(pipeline, stock)) <= PARITY
    for site in ("double.0.image", "single.0.image"):
        tokens = sum(latents.shape[-2] * latents.shape[-1] // 4 for latents in (z, *reference))
        assert backbone.features(z, torch.tensor([0.5]), condition, site).shape[1] == tokens


@pytest.mark.slow
def test_word_positions_are_exact_in_half_precision() -> None:
    """Above 256, bfloat16 has only even integers, so positions reach the network in float32."""
    pipeline, seen = flux2_klein().to(torch.bfloat16), list[Tensor]()
    pipeline.transformer.pos_embed.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    backbone: Any = le.from_pipeline(pipeline, settings=SETTINGS)
    backbone.window = 512
    z, text = draw((1, *backbone.latent_shape(64, 64)), seed=4, purpose="start"), backbone.embed([""])
    seen.clear()
    backbone.velocity(z, torch.tensor([0.5]), text)
    assert [float(position) for position in seen[1][:, 3]] == list(range(512))


def test_levels_depend_on_their_number_and_on_the_image() -> None:
    """The published shift, at sizes and numbers of steps on both sides of its limits."""
    backbone: Any = le.from_pipeline(flux2_klein(), settings=SETTINGS)
    for tokens in (16, 4096, 4300, 4301, 9000):
        for steps in (4, 50, 300):
            assert backbone._mu(None, tokens, steps) == pytest.approx(compute_empirical_mu(tokens, steps), rel=1e-12)


@pytest.mark.slow
def test_a_processor_gives_the_tokens_of_its_tokenizer() -> None:
    """Live pipelines of dev have a processor; a folder only needs its tokenizer.

    The start token counts once, as part of the chat, even if the tokenizer adds it to plain texts.
    """
    plain, processed = flux2_dev(), flux2_dev()
    tokenizer = processed.tokenizer
    processor = type("Processor", (SimpleNamespace,), {"__module__": __name__})
    processed.tokenizer = processor(
        tokenizer=tokenizer, chat_template=tokenizer.chat_template, apply_chat_template=tokenizer.apply_chat_template
    )
    first, second = (le.from_pipeline(pipeline, settings=SETTINGS) for pipeline in (plain, processed))
    notes = first.dropped_notes("x" * 600)
    assert torch.equal(first.embed([CAPTION]).tokens, second.embed([CAPTION]).tokens)
    assert second.dropped_notes("x" * 600) == notes != []
    special_tokens, template = [("<s>", tokenizer.convert_tokens_to_ids("<s>"))], TemplateProcessing
    tokenizer._tokenizer.post_processor = template(single="<s> $A", special_tokens=special_tokens)  # type: ignore[call-arg]
    assert tokenizer.num_special_tokens_to_add() == 1
    assert second.dropped_notes("x" * 600) == notes
