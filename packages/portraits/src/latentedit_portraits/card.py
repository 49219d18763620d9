"""The model cards of the bundled models, written from the facts that are stored with each."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from latentedit.models.settings_file import read_settings
from latentedit_portraits.attributes import VALUES

_CARD = """---
license: apache-2.0
library_name: diffusers
pipeline_tag: text-to-image
---
# {name}

{description}. Made to be edited: every attribute of its training pictures is known, so the right answer to an edit
can be rendered.

{parts}
* **Data** rendered with python-avatars (MIT) and resvg-py: {attributes}. Portraits are split by a hash of their
  attributes; none of the test split was seen in training.{other_data}
* **Captions** from a grammar of {words} words with synonyms; the full vocabulary is in `latentedit.json`. Other words
  are not understood.
* **Recipe** `latentedit models train {name} --recipe {recipe}`. Seconds of training: {seconds}.{history}
* **Use** `{use}` with guidance {guidance:g}; or `latentedit.load("{name}")`.
* **Limits** drawn portraits in this one style and framing; nothing photographic.
* **Licence** Apache-2.0, weights included.

## Measured on the test split
{quality}
"""

_PARTS = {
    "portraits": """\
* **Parts** `SD3Transformer2DModel` (18.6 M parameters, 8 layers, 4 heads of 64, patch 2), `AutoencoderKL` (f8,
  8 channels, 2.7 M), two `CLIPTextModelWithProjection` (0.7 M and 0.9 M), no T5, a tokenizer of whole words,
  `FlowMatchEulerDiscreteScheduler` with shift 3. Half-precision safetensors. Beside them `reader/`, a small CNN that
  names the attributes of a portrait, and `framer/`, a smaller one that sees where in a picture a portrait sits.""",
    "portraits-unet": """\
* **Parts** `UNet2DConditionModel` (19.6 M parameters, predicts the noise; three sizes of 96, 192 and 288 channels,
  one layer a block, cross-attention at two of them and in the middle), `AutoencoderKL` and tokenizer of `portraits`
  (the codec's shift sits in its two 1 x 1 layers, for this pipeline knows a scale only), one `CLIPTextModel` (0.9 M,
  begun as the second one of `portraits`), `DDIMScheduler` with a noisier end than Stable Diffusion's. Half-precision
  safetensors. Reader and framer are those of `portraits`.""",
}
_OTHER_DATA = {
    "portraits": """ The framer also learns from
  portraits of any parts and colours that python-avatars draws, framed in any way.""",
    "portraits-unet": " It is the data of `portraits`.",
}
_USE = {
    "portraits": "StableDiffusion3Pipeline.from_pretrained(folder, text_encoder_3=None, tokenizer_3=None)",
    "portraits-unet": "StableDiffusionPipeline.from_pretrained(folder)",
}


PIXEL_DATA = {
    "pixels-discs": "plain discs, each of one pure hue on white: four numbers a picture (place, size, hue)",
    "pixels-portraits": "avatar portraits (python-avatars, MIT), framed at random: twelve attributes a picture",
}
"""What each model was trained on."""

_PIXEL_CARD = """---
license: apache-2.0
library_name: diffusers
pipeline_tag: unconditional-image-generation
---
# {name}

A small DDPM on pictures of 64 px, without text. There are two, alike but for their data; they are there to compare what
data does to a latent space, not to make pictures.

* **Data** {data}.
* **Parts** `UNet2DModel` (2.7 M parameters, predicts v), `DDIMScheduler` with linear betas.
  Half-precision safetensors.
* **Recipe** `latentedit models train {name} --recipe {recipe}`: {plan},
  {seconds} seconds.
* **Use** `DDIMPipeline.from_pretrained(folder)`; or `latentedit.load("{name}")`.
* **Limits** trained for minutes; samples show it.
* **Licence** Apache-2.0, weights included.
"""

# Of the recipes of `train_pixels`.
PIXEL_PLANS = {"cpu": "8000 pictures, 1800 steps of 16", "gpu": "30000 pictures, 20000 steps of 128"}


def write_card(folder: Path, name: str) -> None:
    """Write ``folder/README.md`` from ``folder/latentedit.json``; its ``history`` says where the recipe was left.

    Args:
        folder: a finished and, where it understands captions, measured model.
        name: of the model.
    """
    (folder / "README.md").write_text(card_text(read_settings(folder), name))


def card_text(settings: Mapping[str, Any], name: str) -> str:
    """The card of a model with these settings."""
    seconds = ", ".join(f"{stage} {value}" for stage, value in settings["training_seconds"].items())
    if name in PIXEL_DATA:
        recipe = settings["recipe"]
        facts = {"data": PIXEL_DATA[name], "plan": PIXEL_PLANS[recipe], "seconds": seconds.removeprefix("pixels ")}
        return _PIXEL_CARD.format(name=name, recipe=recipe, **facts)
    return _CARD.format(
        name=name,
        description=settings["description"][:1].upper() + settings["description"][1:],
        parts=_PARTS[name],
        other_data=_OTHER_DATA[name],
        use=_USE[name],
        attributes=", ".join(f"{key.replace('_', ' ')} ({len(values)})" for key, values in VALUES.items()),
        words=len(settings["vocabulary"]),
        recipe=settings["recipe"],
        seconds=seconds,
        history=f" {settings['history']}" if "history" in settings else "",
        guidance=settings["guidance"],
        quality="\n".join(_table(title, numbers) for title, numbers in settings["quality"].items()),
    )


def _table(title: str, numbers: Mapping[str, Any]) -> str:
    names, values = " | ".join(numbers), " | ".join(f"{value:g}" for value in numbers.values())
    return f"**{title}**\n\n| {names} |\n|{'---|' * len(numbers)}\n| {values} |\n"
