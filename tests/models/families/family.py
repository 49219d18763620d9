"""Tests of model families: subclass `FamilyContract`, set its stock miniature and the arguments of its pipeline.

`Variants` adds common changes of a pipeline; they depend more on diffusers than on the family: four families run it,
and by day, each change runs in two of them.
"""

import dataclasses
import functools
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch
from PIL import Image
from torch import Tensor

import latentedit as le
from latentedit.core.errors import ModelError
from latentedit.editors import FlowEdit
from latentedit.editors.eim import EIM
from latentedit.identification.hsds import HSDS
from latentedit.models.base import Backbone
from latentedit.models.codec import pack, unpack
from latentedit.models.derivatives import VelocityJacobian
from latentedit.models.guidance import GuidedField
from latentedit.numerics.block_lanczos import truncated_svd
from latentedit.numerics.condition import Condition
from latentedit.numerics.device import dtype_name
from latentedit.numerics.flow import LevelGrid
from latentedit.numerics.rng import draw, seeded
from latentedit.numerics.solvers import EulerSolver, integrate
from latentedit.testing.contracts.backbone import BackboneContract
from latentedit.testing.contracts.pipeline import PipelineContract
from tests.testing.tolerances import relative_error

CAPTION = "a person with red hair and glasses"
PARITY = 1e-4  # float32 rounding over a few steps is about 1e-6

STEPS = 4
InvalidChange = tuple[str, Callable[[Any], object]]
"""A pattern of the error, and the change of a pipeline that raises it."""


def set_config(part: str, **settings: Any) -> Callable[[Any], object]:
    return lambda pipeline: getattr(pipeline, part).register_to_config(**settings)


def other_width(setting: str) -> InvalidChange:
    return r"24.*16", set_config("transformer", **{setting: 24})


OTHER_WIDTH = other_width("joint_attention_dim")
OTHER_CHANNELS: InvalidChange = (r"4.*16", set_config("vae", latent_channels=16))
NO_CHAT: InvalidChange = ("has no chat template", lambda pipeline: setattr(pipeline.tokenizer, "chat_template", None))
DDIM: dict[str, Any] = {"clip_sample": False, "set_alpha_to_one": True, "steps_offset": 1}
"""Settings of the stock sampler: it ends at the clean estimate, as ours does, and does not clip."""

SETTINGS = {"sizes": [64, 64, 96]}
SIZES = ((64, 64), (64, 96))


def call_arguments(size: tuple[int, int]) -> dict[str, Any]:
    return {"height": size[0], "width": size[1], "num_inference_steps": STEPS, "output_type": "latent"}


class FamilyContract(BackboneContract, PipelineContract):
    """The backbone contract, and parity of a family with its stock pipeline on a seeded miniature.

    Args:
        make: returns a stock pipeline with seeded weights.
        arguments: further arguments of the pipeline's call.
        weight_offset: our guidance weight minus the pipeline's guidance scale.
        guidance: default weight and kind.
        kind_at_one: kind of guidance at weight 1, of distilled models that a weight in the settings makes guided.
        longest_caption: letters of the longest caption that is not truncated; 0 for families that count differently.
        chat_as_published: the miniature's tokenizer reads the chat like the published one, not letter by letter.
        invalid_changes: changes of a pipeline that are rejected.
    """

    texts = (CAPTION, "a face")
    make: ClassVar[Callable[..., Any]]
    arguments: ClassVar[dict[str, Any]] = {}
    weight_offset: ClassVar[float] = 0.0
    weights: ClassVar[tuple[float, ...]] = (1.0, 3.0)
    guidance: ClassVar[tuple[float, str]]
    kind_at_one: ClassVar[str] = ""
    longest_caption: ClassVar[int] = 0
    chat_as_published: ClassVar[bool] = True
    invalid_changes: ClassVar[tuple[InvalidChange, ...]] = ()
    settings: ClassVar[dict[str, Any]] = SETTINGS
    pipeline_settings = SETTINGS
    sizes: ClassVar[tuple[tuple[int, int], ...]] = SIZES

    def build(self) -> Any:
        """A new stock pipeline in eval mode, without a progress bar."""
        pipeline = type(self).make()
        pipeline.set_progress_bar_config(disable=True)
        for part in pipeline.components.values():
            if isinstance(part, torch.nn.Module):
                part.eval()
        return pipeline

    def stock_latents(self, z: Tensor) -> Tensor:
        """Canonical starting noise as the pipeline takes its ``latents``."""
        return z

    def canonical_latents(self, output: Tensor, like: Tensor) -> Tensor:
        """The pipeline's output with ``output_type="latent"``, as canonical latents of the shape of ``like``."""
        del like
        return output

    def stock_arguments(self, weight: float) -> dict[str, Any]:
        return {"guidance_scale": weight - self.weight_offset, **self.arguments}

    def stock_image(self, pipeline: Any, weight: float, size: tuple[int, int], z: Tensor, **settings: Any) -> Any:
        call = {**call_arguments(size), **self.stock_arguments(weight), **settings}
        return pipeline(prompt=CAPTION, latents=self.stock_latents(z.clone()), **call).images

    @pytest.fixture(scope="class")
    def pipeline(self) -> Any:
        return self.build()

    @pytest.fixture
    def fresh_pipeline(self) -> Any:
        return self.build()

    @pytest.fixture(scope="class")
    def backbone(self, pipeline: Any) -> Backbone:
        return le.from_pipeline(pipeline, settings=self.settings)

    @pytest.fixture(scope="class")
    def condition(self, backbone: Backbone) -> Condition:
        return backbone.embed(list(self.texts))

    @pytest.fixture
    def latent(self, backbone: Backbone) -> Tensor:
        return draw((2, *backbone.latent_shape(*self.sizes[0])), seed=0, purpose="family")

    def our_sample(self, backbone: Backbone, weight: float, size: tuple[int, int], z: Tensor) -> Tensor:
        """The same image by our field, levels and Euler's method."""
        renormalized = backbone.capabilities.guidance_kind == "renormalized"
        condition = backbone.embed([CAPTION])
        field = GuidedField(backbone=backbone, condition=condition, guidance=weight, renormalized=renormalized)
        grid = backbone.grid(STEPS, height_px=size[0], width_px=size[1])
        return integrate(field, self.first_latents(z, grid), grid.levels, EulerSolver())

    def first_latents(self, z: Tensor, grid: LevelGrid) -> Tensor:
        del grid
        return z

    def start(self, backbone: Backbone, size: tuple[int, int]) -> Tensor:
        return draw((1, *backbone.latent_shape(*size)), seed=3, purpose="start")

    def test_sampling_equals_the_stock_pipeline(self, pipeline: Any, backbone: Backbone) -> None:
        """From the same text, noise, weight and size; another weight gives another image."""
        for size in self.sizes:
            z, samples = self.start(backbone, size), list[Tensor]()
            for weight in self.weights if size == self.sizes[0] else self.weights[-1:]:
                stock = self.canonical_latents(self.stock_image(pipeline, weight, size, z), z)
                samples.append(self.our_sample(backbone, weight, size, z))
                assert samples[-1].shape == stock.shape == z.shape
                assert relative_error(samples[-1], stock) <= PARITY
            for first, second in itertools.pairwise(samples):
                assert relative_error(first, second) > 10 * PARITY, "another weight gives the same image"

    def test_images_equal_the_stock_pipelines(self, pipeline: Any, backbone: Backbone) -> None:
        """The codec's mean and scale: the latents that we sample, decoded, are the image that the pipeline gives."""
        size, weight = self.sizes[0], self.weights[-1]
        z = self.start(backbone, size)
        stock = self.stock_image(pipeline, weight, size, z, output_type="pt")[:, :3]
        with torch.no_grad():
            image = (backbone.decode(self.our_sample(backbone, weight, size, z)) / 2 + 0.5).clamp(0, 1)
        assert image.shape == stock.shape
        assert float((image - stock.float()).abs().max()) <= 10 * PARITY

    def test_encoding_is_the_inverse_normalization(self, pipeline: Any, backbone: Backbone) -> None:
        """Encoding and decoding match the autoencoder's round trip."""
        pixels = draw((1, 3, *self.sizes[1]), seed=0, purpose="pixels").clamp(-1, 1)
        alpha = pipeline.vae.config.get("in_channels") == 4
        shown = torch.cat([pixels, torch.ones_like(pixels[:, :1])], dim=1) if alpha else pixels
        frames = shown[:, :, None] if pixels.ndim != _rank(pipeline.vae) else shown
        with torch.no_grad():
            output = pipeline.vae.encode(frames)
            mode = output.latent_dist.mode() if hasattr(output, "latent_dist") else output[0]
            expected = pipeline.vae.decode(mode, return_dict=False)[0][:, :3].reshape(pixels.shape)
            assert relative_error(backbone.decode(backbone.encode(pixels)), expected) <= 1e-4

    def test_a_folder_gives_the_same_model(self, pipeline: Any, backbone: Backbone, tmp_path: Path) -> None:
        """Saved by the pipeline and loaded from its folder: the same velocity, up to memory alignment."""
        pipeline.save_pretrained(str(tmp_path / "model"), safe_serialization=True)
        (tmp_path / "model/latentedit.json").write_text(json.dumps(self.settings))
        loaded = le.load(tmp_path / "model", device="cpu")
        z, s = self.start(backbone, self.sizes[0]), torch.tensor([0.6])
        v = backbone.velocity(z, s, backbone.embed([CAPTION]))
        assert relative_error(loaded.velocity(z, s, loaded.embed([CAPTION])), v) <= 1e-5
        assert loaded.capabilities == backbone.capabilities

    def test_guidance_is_as_published(self, pipeline: Any, backbone: Backbone) -> None:
        """A weight in the settings of a distilled model makes it a guided one."""
        assert (backbone.capabilities.guidance, backbone.capabilities.guidance_kind) == self.guidance
        if self.kind_at_one:
            plain, guided = (le.from_pipeline(pipeline, settings={"guidance": weight}) for weight in (1, 4))
            assert (plain.capabilities.guidance, plain.capabilities.guidance_kind) == (1.0, self.kind_at_one)
            assert (guided.capabilities.guidance, guided.capabilities.guidance_kind) == (4.0, "cfg")
            assert guided.grid(4) == plain.grid(4)

    def test_long_captions_lose_their_end(self, backbone: Any) -> None:
        """Text that the notes report as dropped has no effect; the last letter before it has one."""
        if not self.longest_caption:
            pytest.skip("this family counts differently")
        longest, longer = "x" * self.longest_caption, "x" * (self.longest_caption + 1)
        dropped = [[note for note in backbone.dropped_notes(text) if "dropped" in note] for text in (longest, longer)]
        assert dropped[0] == []
        assert f"{self.longest_caption} tokens" in dropped[1][0]
        if not self.chat_as_published:
            return
        whole, other, *cut = backbone.embed([longest, longest[:-1] + "y", longer + "y", longer + "z"]).tokens
        assert not torch.equal(whole, other)
        assert torch.equal(*cut)

    def test_parts_of_two_models_are_rejected(self) -> None:
        """The error names the part that does not fit."""
        if not self.invalid_changes:
            pytest.skip("another test of this family has them")
        for pattern, change in self.invalid_changes:
            pipeline = self.build()
            change(pipeline)
            with pytest.raises(ModelError, match=pattern):
                le.from_pipeline(pipeline)

    def test_edits_and_local_basis(self, backbone: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
        """FlowEdit and EIM change an image, strength 0 does not; a local basis has a direction."""
        short = functools.partial(truncated_svd, most_products=4)
        monkeypatch.setattr("latentedit.geometry.pullback.truncated_svd", short)
        image = noise_image(*self.sizes[0])
        weight = 1.0 if backbone.capabilities.guidance_kind == "none" else 2.0
        flow = FlowEdit(level=0.6, steps=3, source_guidance=1.0, target_guidance=weight)
        eim = EIM(search=HSDS(steps=2, iterations=1), steps=3)
        edit = functools.partial(le.edit, backbone, image, source_prompt="red hair", prompt="a face")
        unchanged = edit(method=flow, strength=0.0)
        assert unchanged.image.tobytes() == image.tobytes()
        for method in (flow, eim):
            moved = edit(method=method, strength=1.0).latent.z
            assert bool(moved.isfinite().all())
            assert not torch.equal(moved, unchanged.latent.z)
        basis = le.local_basis(le.encode(backbone, image, source_prompt=CAPTION), level=0.5, rank=1, steps=2)
        assert float(basis.singular_values[0]) > 0


class Packed(FamilyContract):
    """Families whose pipelines take and return sequences of latent patches."""

    def stock_latents(self, z: Tensor) -> Tensor:
        return pack(z)

    def canonical_latents(self, output: Tensor, like: Tensor) -> Tensor:
        return unpack(output, (like.shape[-2] // 2, like.shape[-1] // 2))


class Distilled(FamilyContract):
    weights = (1.0,)
    guidance = (1.0, "none")
    kind_at_one = "none"


class Modular(FamilyContract):
    """Families whose stock pipelines are modular."""

    def stock_image(self, pipeline: Any, weight: float, size: tuple[int, int], z: Tensor, **settings: Any) -> Any:
        guider: Any = getattr(pipeline, "guider", None) or SimpleNamespace(guidance_scale=weight)
        published, guider.guidance_scale = guider.guidance_scale, weight
        sample = sample_modular(pipeline, size, self.stock_latents(z.clone()), **settings)
        guider.guidance_scale = published  # which a model of this pipeline reads
        return sample


def sample_modular(pipeline: Any, size: tuple[int, int], latents: Tensor, **settings: Any) -> Any:
    """The output of a modular pipeline's blocks, without those that rewrite the prompt."""
    blocks = type(pipeline.blocks)()
    blocks.sub_blocks.pop("prompt_upsampler", None)
    runner = blocks.init_pipeline()
    runner.update_components(**{name: part for name, part in pipeline.components.items() if part is not None})
    runner.set_progress_bar_config(disable=True)
    call = {**call_arguments(size), "prompt": CAPTION, "latents": latents, **settings}
    if call["output_type"] == "latent":
        return runner(output="latents", **{**call, "output_type": "pt"})
    return runner(output="images", **call)


class VPContract(FamilyContract):
    """Families trained on discrete times, whose samplers start below pure noise: parity with DDIM."""

    def first_latents(self, z: Tensor, grid: LevelGrid) -> Tensor:
        """``x_t = (alpha + sigma) z``, and ``alpha + sigma`` is ``1 / |(1 - s, s)|``."""
        first = grid.levels[0]
        return z * ((1 - first) ** 2 + first**2) ** 0.5


def check_dropped_words(backbone: Any, prefix: str, window: int) -> None:
    """The longest text that is not truncated fills the window after a prefix, up to one token of its last word."""
    for word in ("a", "x"):
        texts = (" ".join([word] * count) for count in range(1, 300))
        longest = next(text for text in texts if backbone.dropped_notes(f"{text} {word}"))
        assert window - 1 <= len(backbone._words(prefix + longest).input_ids) <= window
        assert len(backbone._words(f"{prefix}{longest} {word}").input_ids) > window


def sample_with_references(
    backbone: Backbone, condition: Condition, z: Tensor, weight: float, size: tuple[int, int], **guided: Any
) -> Tensor:
    """Our sample under a condition with references; other references or another order change the velocity."""
    field = GuidedField(backbone=backbone, condition=condition, guidance=weight, **guided)
    reference, s = condition.reference or (), torch.tensor([0.5])
    other = dataclasses.replace(condition, reference=reference[::-1] if reference[1:] else (z,))
    assert relative_error(backbone.velocity(z, s, other), backbone.velocity(z, s, condition)) > 1e-3
    grid = backbone.grid(STEPS, height_px=size[0], width_px=size[1])
    return integrate(field, z, grid.levels, EulerSolver())


class Variants(FamilyContract):
    """Pipelines in bfloat16, with fp8 storage, group offload or a LoRA: samples and derivatives."""

    daily_variants: ClassVar[tuple[str, ...]] = ()
    half_tolerance: ClassVar[float] = 0.05
    difference_tolerance: ClassVar[float] = 5e-3

    @pytest.mark.parametrize("variant", ["bfloat16", "fp8", "groups", "lora"])
    def test_a_changed_pipeline_edits_as_it_is(self, backbone: Backbone, variant: str) -> None:
        """Compared with the stock pipeline after the same change."""
        pipeline = self.build()
        denoiser = pipeline.components[type(backbone).denoiser]  # type: ignore[attr-defined]
        apply_variant(pipeline, denoiser, variant)
        live = le.from_pipeline(pipeline, settings=self.settings)
        z, s, weight = self.start(live, self.sizes[0]), torch.tensor([0.5]), self.weights[0]
        text = live.embed([CAPTION])
        v = live.velocity(z, s, text)
        assert torch.equal(v, backbone.velocity(z, s, backbone.embed([CAPTION]))) == (variant == "groups")
        assert (live.fingerprint == backbone.fingerprint) == (variant in ("groups", dtype_name(backbone.half)))
        names = [f"{layer}.{kind}" for layer in live.attention_layers for kind in ("key", "value")]
        _, kept = live.velocity_keeping(z, s, text, names)
        assert torch.equal(live.velocity_given(z, s, text, kept), v)
        assert all(feature.dtype == live.network_dtype for feature in kept.values())
        if variant != "groups":  # its velocity equals that of the unchanged pipeline, which is tested above
            stock = self.canonical_latents(
                self.stock_image(pipeline, weight, self.sizes[0], z.to(live.network_dtype)), z
            )
            error = relative_error(self.our_sample(live, weight, self.sizes[0], z), stock.float())
            if variant == "bfloat16":  # stock pipelines sample in bfloat16 and round time differently
                assert 0 < error <= self.half_tolerance
                return
            assert error <= PARITY
        product = VelocityJacobian(live, z, s, text, mode="forward").matvec(z.sin())
        differences = VelocityJacobian(live, z, s, text, mode="finite_difference").matvec(z.sin())
        assert relative_error(differences, product) <= self.difference_tolerance


def apply_variant(pipeline: Any, denoiser: Any, variant: str) -> None:
    if variant == "bfloat16":
        pipeline.to(torch.bfloat16)
    elif variant == "fp8":
        denoiser.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=torch.float32)
    elif variant == "groups":
        cpu = torch.device("cpu")
        denoiser.enable_group_offload(onload_device=cpu, offload_device=cpu, offload_type="leaf_level")
    else:
        peft = pytest.importorskip("peft")
        config = peft.LoraConfig(r=2, target_modules=["to_q", "to_v"], init_lora_weights=False)
        with seeded(0):
            denoiser.add_adapter(config)
        generator = torch.Generator().manual_seed(0)
        for name, parameter in denoiser.named_parameters():
            if "lora_" in name:
                parameter.data.normal_(std=0.1, generator=generator)


def noise_image(height: int, width: int) -> Image.Image:
    noise = draw((height, width, 3), seed=5, purpose="image").sigmoid()
    return Image.fromarray((noise * 255).to(torch.uint8).numpy())


def _rank(vae: Any) -> int:
    return 5 if hasattr(vae, "temperal_downsample") else 4
