"""How good a trained model is: the codec, the reader, and how well the transformer listens."""

import random
import statistics
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL

from latentedit.core.progress import Progress
from latentedit.editors.baselines.velocity_steering import VelocitySteering
from latentedit.editors.registry import make_editor
from latentedit.latents.drawing import draw_pictures
from latentedit.latents.encode import encode
from latentedit.models.base import Backbone
from latentedit.models.registry import load
from latentedit_portraits.attributes import Attributes, draw_split
from latentedit_portraits.autoencoder import reconstruction_psnr_db
from latentedit_portraits.captions import full_caption
from latentedit_portraits.dataset import render_split, to_pixels
from latentedit_portraits.instructions import draw_answer, draw_idle_instruction, draw_instruction
from latentedit_portraits.other_programs import reading_accuracy, recoloring_accuracy
from latentedit_portraits.reader import PortraitReader, accuracy
from latentedit_portraits.recolored import OTHERS, UNSEEN
from latentedit_portraits.render import render

# Pictures of the test split on which reader, codec and text adherence are measured, and how many are sampled at once.
_RENDERS, _RECONSTRUCTIONS, _SAMPLES, _BATCH = 1000, 200, 300, 25

# What is asked of a model that takes instructions, with how many attributes change, and of how many portraits.
_IDLE, _FOLLOWED = "nothing to do", 100
_ASKED = {"one change": 1, "two at once": 2, "change nothing": 0, _IDLE: 0}

# Portraits in other colours that are read, and that each colour is asked of.
_OTHERS, _RECOLORED = 500, 10


def adherence(
    model: Backbone,
    reader: PortraitReader,
    wanted: list[Attributes],
    progress: Progress | None = None,
) -> dict[str, float]:
    """Share of sampled pictures in which the reader finds what the full caption said, an attribute at a time."""
    found: list[Attributes] = []
    for start in range(0, len(wanted), _BATCH):
        captions = [full_caption(item) for item in wanted[start : start + _BATCH]]
        found += reader.attributes(draw_pictures(model, captions, seed=start))
        if progress is not None:
            progress("adherence", min(start + _BATCH, len(wanted)), len(wanted))
    return accuracy(found, wanted)


def instruction_following(
    model: Backbone, reader: PortraitReader, count: int, progress: Progress | None = None
) -> dict[str, float]:
    """Share of test portraits of which the reader finds every attribute as in the right answer, by what was asked for.

    Instructions are followed at strength 1 by `VelocitySteering` with the settings that suit the model.

    Args:
        model: that takes instructions.
        reader: of the portraits.
        count: of portraits for each kind of instruction.
        progress: told after each batch.
    """
    words, editor = random.Random("portraits/following"), make_editor(VelocitySteering.name, model)
    found: dict[str, float] = {}
    for index, (kind, changes) in enumerate(_ASKED.items()):
        sources = draw_split("test", count, seed=2 + index)
        answers = [draw_answer(source, words, changes=changes, split=None) for source in sources]
        told = [
            draw_idle_instruction(source, words) if kind == _IDLE else draw_instruction(source, answer, words, idle=0)
            for source, answer in zip(sources, answers, strict=True)
        ]
        right = 0
        for start in range(0, count, _BATCH):
            some = slice(start, start + _BATCH)
            latent = encode(model, [render(source) for source in sources[some]], instructed=True)
            (edited,) = editor.edit(latent, latent.told(told[some]), [1.0])
            read = reader.attributes(model.decode(edited.z).clamp(-1, 1))
            right += sum(one == answer for one, answer in zip(read, answers[some], strict=True))
            if progress is not None:
                progress(f"following: {kind}", min(start + _BATCH, count), count)
        found[kind] = right / count
    return found


def measure_quality(
    folder: Path, reader: PortraitReader, renders: Path, *, progress: Progress | None = None
) -> dict[str, Any]:
    """The figures of the model card, all on portraits of the test split.

    Args:
        folder: the model.
        reader: of the portraits.
        renders: where rendered pictures are kept.
        progress: called while pictures are sampled.

    Returns:
        nested names and numbers: PSNR in dB, accuracies as shares.
    """
    model = load(folder)
    autoencoder = AutoencoderKL.from_pretrained(folder / "vae", torch_dtype=torch.float32).eval()
    test = render_split(renders, "test", _RENDERS, seed=0, framed=False)
    pixels = to_pixels(test.pixels, torch.device("cpu"))
    psnr = reconstruction_psnr_db(autoencoder, test.pixels[:_RECONSTRUCTIONS])
    with torch.no_grad():
        reconstructed = torch.cat([model.decode(model.encode(chunk)) for chunk in pixels.to(model.device).split(50)])
    wanted = draw_split("test", _SAMPLES, seed=1)
    return {
        f"VAE PSNR on {_RECONSTRUCTIONS} test renders, dB": _rounded(
            {"mean": statistics.mean(psnr), "median": statistics.median(psnr), "lowest": min(psnr)}, 2
        ),
        f"reader accuracy on {_RENDERS} test renders": _with_mean(accuracy(reader.attributes(pixels), test.attributes)),
        f"reader accuracy on {_RENDERS} VAE reconstructions": _with_mean(
            accuracy(reader.attributes(reconstructed), test.attributes)
        ),
        f"text adherence, {_SAMPLES} test captions, guidance {model.capabilities.guidance:g}": _with_mean(
            adherence(model, reader, wanted, progress=progress)
        ),
        f"reader accuracy on {_OTHERS} recolored portraits": _with_mean(reading_accuracy(reader, _OTHERS)),
        f"edits to colors that are no values of the attribute, {_RECOLORED} of each": _with_mean(
            recoloring_accuracy(model, OTHERS, _RECOLORED)
        ),
        f"edits to colors that training never showed of it, {_RECOLORED} of each": _with_mean(
            recoloring_accuracy(model, UNSEEN, _RECOLORED)
        ),
    } | (
        {f"instructions followed in every attribute, {_FOLLOWED} of each": following}
        if model.capabilities.references and (following := instruction_following(model, reader, _FOLLOWED, progress))
        else {}
    )


def _with_mean(shares: dict[str, float]) -> dict[str, float]:
    return _rounded({"mean": statistics.mean(shares.values())} | shares, 4)


def _rounded(numbers: dict[str, float], digits: int) -> dict[str, float]:
    return {name: round(number, digits) for name, number in numbers.items()}
