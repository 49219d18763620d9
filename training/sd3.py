"""Small Stable Diffusion 3s: the transformer and its two text encoders, trained jointly by rectified flow."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline
from jaxtyping import Float, Int
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPTextModelWithProjection, CLIPTokenizer

from latentedit.core.rng import seeded
from latentedit.models.attention import differentiable_attention
from latentedit_portraits.worlds import AttributeClassifier
from training.classifiers import fit_reader
from training.codec import CHANNELS, fit_autoencoder, normalized_latents, reconstruct
from training.data import SEED, World, kept_array
from training.folder import write_pipeline
from training.loop import FitSettings, Plan, Training, mixed_precision
from training.texts import TEXT_WIDTH, CaptionBatches, attribute_loss, clip_config

SHIFT = 3.0
"""Of the schedule of the flow models."""

_HEADS, _HEAD_WIDTH, _LAYERS = 4, 64, 8
_ATTRIBUTE_WEIGHT = 0.02  # of reading the attributes from the pooled text, beside the velocity's squared error
_LEVEL_MEAN, _LEVEL_SPREAD = 0.7, 1.2  # of the logit of the noise levels that are trained
_ZERO_TOKENS = ((0.85, 1, 1), (0.96, 2, 16), (0.99, 64, 64), (1.0, 256, 256))
"""Cumulative probability, and the range of the number of zero tokens that stand in for the absent T5."""


class TextToVelocity(nn.Module):
    """What is trained together: two text encoders, the transformer, a head that keeps the pooled text readable."""

    def __init__(self, tokenizer: CLIPTokenizer, world: World) -> None:
        super().__init__()
        self.text_encoder = CLIPTextModelWithProjection(clip_config(tokenizer, 3))
        self.text_encoder_2 = CLIPTextModelWithProjection(clip_config(tokenizer, 4))
        width = _HEADS * _HEAD_WIDTH
        self.transformer = SD3Transformer2DModel(
            sample_size=16,
            patch_size=2,
            in_channels=CHANNELS,
            out_channels=CHANNELS,
            num_layers=_LAYERS,
            attention_head_dim=_HEAD_WIDTH,
            num_attention_heads=_HEADS,
            joint_attention_dim=2 * TEXT_WIDTH,
            caption_projection_dim=width,
            pooled_projection_dim=2 * TEXT_WIDTH,
            pos_embed_max_size=16,
            qk_norm="rms_norm",
        )
        self.attribute_head = nn.Linear(2 * TEXT_WIDTH, sum(map(len, world.values.values())))
        start_at_zero(self.transformer, ("norm1.linear", "norm1_context.linear", "proj_out"))

    def embed(self, ids: Int[Tensor, "b n"]) -> tuple[Float[Tensor, "b n d"], Float[Tensor, "b p"]]:
        """Tokens and pooled text exactly as the stock pipeline takes them: the last but one hidden layer."""
        outputs = [encoder(ids, output_hidden_states=True) for encoder in (self.text_encoder, self.text_encoder_2)]
        tokens = torch.cat([output.hidden_states[-2] for output in outputs], dim=-1)
        pooled = torch.cat([output.text_embeds for output in outputs], dim=-1)
        return tokens, pooled


def start_at_zero(transformer: nn.Module, names: tuple[str, ...]) -> None:
    """Gates and output start at zero, as diffusion transformers are usually begun."""
    for name, module in transformer.named_modules():
        if isinstance(module, nn.Linear) and name.endswith(names):
            nn.init.zeros_(module.weight)
            nn.init.zeros_(module.bias)


def build_text_to_velocity(tokenizer: CLIPTokenizer, world: World) -> TextToVelocity:
    """The untrained networks, always the same."""
    with seeded(SEED):
        return TextToVelocity(tokenizer, world)


def fit_text(network: TextToVelocity, captions: CaptionBatches, settings: FitSettings, run: Training) -> float:
    """Teach the text encoders what their words mean before an image is seen: attributes from the pooled text."""
    reading = nn.ModuleList([network.text_encoder, network.text_encoder_2, network.attribute_head])

    def loss(step: int, generator: torch.Generator) -> Tensor:
        del step
        chosen = torch.randint(len(captions.scenes), (settings.batch,), generator=generator).tolist()
        ids, stated = captions.draw(chosen, generator, empty=0.0)
        with mixed_precision(captions.device):
            _, pooled = network.embed(ids)
            logits = network.attribute_head(pooled)
        return attribute_loss(logits, stated, captions.world.scene)

    return run.fit("text", reading, loss, settings)


def draw_levels(batch: int, generator: torch.Generator) -> Float[Tensor, " b"]:
    """Stratified logit-normal levels, a little noisier than SD3's, because portraits are decided at high levels."""
    quantile = (torch.arange(batch) + torch.rand(batch, generator=generator)) / batch
    normal = torch.special.ndtri(quantile.clamp(1e-4, 1 - 1e-4))
    return torch.sigmoid(_LEVEL_MEAN + _LEVEL_SPREAD * normal)


def _draw_zero_tokens(generator: torch.Generator) -> int:
    chance = float(torch.rand((), generator=generator))
    low, high = next((low, high) for limit, low, high in _ZERO_TOKENS if chance <= limit)
    return int(torch.randint(low, high + 1, (1,), generator=generator))


def fit_transformer(
    network: TextToVelocity,
    captions: CaptionBatches,
    latents: NDArray[np.float16],
    settings: FitSettings,
    run: Training,
) -> float:
    """Train text encoders and transformer to predict ``e - x`` from ``(1 - s) x + s e``.

    Captions and normalized clean latents ``[n, 8, 16, 16]`` are of the same portraits in the same order.
    """
    device = captions.device
    blocks = network.transformer.transformer_blocks.named_parameters()
    matrices = [item for name, item in blocks if item.ndim == 2 and ("attn" in name or "ff" in name)]

    def loss(step: int, generator: torch.Generator) -> Tensor:
        del step
        chosen = torch.randint(len(latents), (settings.batch,), generator=generator).tolist()
        ids, stated = captions.draw(chosen, generator)
        clean = torch.from_numpy(latents[chosen].astype(np.float32)).to(device)
        noise = torch.randn(clean.shape, generator=generator).to(device)
        s = draw_levels(settings.batch, generator).to(device)
        z = torch.lerp(clean, noise, s[:, None, None, None])
        zeros = _draw_zero_tokens(generator)
        with mixed_precision(device):
            tokens, pooled = network.embed(ids)
            padded = functional.pad(tokens, (0, 0, 0, zeros))
            velocity = network.transformer(
                hidden_states=z,
                encoder_hidden_states=padded,
                pooled_projections=pooled,
                timestep=1000 * s,
                return_dict=False,
            )[0]
            logits = network.attribute_head(pooled)
        error = functional.mse_loss(velocity.float(), noise - clean)
        return error + _ATTRIBUTE_WEIGHT * attribute_loss(logits, stated, captions.world.scene)

    with differentiable_attention():  # on a CPU the backward pass of the fused kernel is the slower one
        return run.fit("transformer", network, loss, settings, orthogonalized=matrices)


def begin_with(network: TextToVelocity, folder: Path) -> None:
    """Give the networks the weights of a model in a folder that has the same ones, all but those of its words."""
    for name in ("transformer", "text_encoder", "text_encoder_2"):
        (path,) = (folder / name).glob("*.safetensors")
        weights = {key: value for key, value in load_file(path).items() if ".embeddings." not in key}
        missing, strange = getattr(network, name).load_state_dict(weights, strict=False)
        assert not strange
        assert all(".embeddings." in key or "pos_embed" in key for key in missing)


def train_sd3(
    run: Training,
    plan: Plan,
    captions: CaptionBatches,
    pixels: NDArray[np.uint8],
    codec: AutoencoderKL,
    kind: type[AttributeClassifier],
    *,
    others: NDArray[np.uint8] | None = None,
    begun: Path | None = None,
) -> dict[str, float]:
    """Train codec, classifier, text encoders and transformer, and write the model into ``run.folder / "model"``.

    Scenes and images ``[n, 128, 128, 3]`` belong together; ``others`` are further images for the codec;
    ``begun`` is the folder of a model with whose weights the networks begin. The classifier also learns from what the
    codec makes of some images.

    Returns:
        Seconds of training of each stage.
    """
    nn.Module.to(codec, run.device)
    seen = pixels if others is None else others
    seconds = {"autoencoder": fit_autoencoder(codec, pixels, seen, plan.fits, run)}
    latents = normalized_latents(codec, pixels, run)
    decoded = kept_array(
        run.folder / "reconstructions.npy", lambda: reconstruct(codec, pixels[: plan.reconstructed], run)
    )
    reader = kind.build(SEED).to(run.device)
    seconds["reader"] = fit_reader(reader, [pixels, decoded], captions.scenes, plan.fits["reader"], run)
    network = build_text_to_velocity(captions.tokenizer, captions.world)
    if begun is not None:
        begin_with(network, begun)
    network.to(run.device)
    seconds["text"] = fit_text(network, captions, plan.fits["text"], run)
    seconds["transformer"] = fit_transformer(network, captions, latents, plan.fits["transformer"], run)
    build: Any = StableDiffusion3Pipeline  # it takes None for the absent T5
    pipeline = build(
        transformer=network.transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=SHIFT),
        vae=codec,
        text_encoder=network.text_encoder,
        tokenizer=captions.tokenizer,
        text_encoder_2=network.text_encoder_2,
        tokenizer_2=captions.tokenizer,
        text_encoder_3=None,
        tokenizer_3=None,
    )
    settings = {"vocabulary": [*captions.world.vocabulary], "zero_tokens": 1}
    write_pipeline(run.folder / "model", pipeline, settings)
    kind(reader.cpu()).save(run.folder / "model")
    return seconds
