"""The recipe of `portraits-kontext`: a FLUX Kontext in the latent space of the finished `portraits`.

The bundled weights are of the "cpu" plan: an hour and a half on two cores that are fast in bfloat16 (AMX), 21 pictures
a second, of which every fourth step's are captioned ones without a source. On processors without AVX-512 it takes some
five times as long. The "gpu" plan, 15 million examples of about 180 tokens for 13 M parameters, 2e17 operations, is
less than an hour on a GPU that sustains 1e14 a second in bfloat16; that is an estimate, and it was not run:

    latentedit models train portraits-kontext --recipe gpu --out runs/portraits-kontext
"""

import functools
import random
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, FluxKontextPipeline
from torch import nn
from transformers import CLIPTokenizer, T5Tokenizer

from latentedit.models.loading import open_folder
from latentedit.models.registry import bundled_folder, load
from latentedit_portraits.attributes import draw_split
from latentedit_portraits.dataset import render_all
from latentedit_portraits.fitting import Plan, Training, read_plans
from latentedit_portraits.instructions import draw_answer, instruction_vocabulary
from latentedit_portraits.kontext import (
    WINDOW,
    Tasks,
    TextToFlow,
    build_text_to_flow,
    build_tokenizers,
    fit_flow,
    fit_words,
)
from latentedit_portraits.reader import PortraitReader
from latentedit_portraits.recipes import SEED, Trained, portrait_settings, run_recipe, write_pipeline
from latentedit_portraits.train import SHIFT
from latentedit_portraits.train_unet import encode_latents

_PARENT = "portraits"

RECIPES = read_plans("portraits-kontext")


def _train(run: Training, plan: Plan) -> Trained:
    """Pairs of portraits in one framing each, their latents, text encoders and transformer.

    The codec is that of the bundled `portraits`.
    """
    sources = draw_split("train", plan.pictures, SEED)
    words = random.Random(f"portraits/answers/{SEED}")
    attributes = sources, [draw_answer(source, words) for source in sources]
    parent = open_folder(bundled_folder(_PARENT))
    model = load(parent.path, device=run.device)
    pairs = [
        render_all(
            run.folder / "renders" / f"{name}-{plan.pictures}-{SEED}.npy",
            list(part),
            seed=SEED,
            framed=True,
            progress=run.tell_renders,
        )
        for name, part in zip(("sources", "answers"), attributes, strict=True)
    ]
    source, answer = (encode_latents(model, one, run, f"latents-{i}") for i, one in enumerate(pairs))
    tokenizers = build_tokenizers()
    network = build_text_to_flow(tokenizers, SEED).to(run.device)
    tasks = Tasks(tokenizers, attributes, (source, answer), torch.device(run.device))
    seconds = {"text": fit_words(network, tasks, plan.fits["text"], run)}
    seconds["flow"] = fit_flow(network, tasks, plan.fits["flow"], run)
    folder = assemble(run.folder / "model", parent.load("vae"), network, tokenizers)
    return Trained(folder=folder, seconds=seconds, reader=PortraitReader.from_folder(parent.path))


train_kontext = functools.partial(run_recipe, "portraits-kontext", RECIPES, _train)


def assemble(
    folder: Path, autoencoder: AutoencoderKL, network: TextToFlow, tokenizers: tuple[CLIPTokenizer, T5Tokenizer]
) -> Path:
    """Write a stock diffusers folder in half precision, and our settings."""
    build: Any = FluxKontextPipeline
    pipeline = build(
        transformer=network.transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=SHIFT),
        vae=autoencoder,
        text_encoder=network.text_encoder,
        tokenizer=tokenizers[0],
        text_encoder_2=network.text_encoder_2,
        tokenizer_2=tokenizers[1],
    )
    settings = portrait_settings("a small FLUX.1 Kontext, which is also told what to do with a portrait")
    told = {"vocabulary": instruction_vocabulary(), "window": WINDOW}
    networks: list[nn.Module] = [autoencoder, network.transformer, network.text_encoder, network.text_encoder_2]
    return write_pipeline(folder, pipeline, networks, {**settings, **told}, ("text_encoder", "text_encoder_2"))
