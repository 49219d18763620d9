"""The model card of `portraits`, written from the facts that are stored with the model."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from latentedit.portraits.settings_file import read_settings

_CARD = """---
license: apache-2.0
library_name: diffusers
pipeline_tag: text-to-image
---
# portraits

A small Stable Diffusion 3 for avatar portraits of 128 x 128 pixels, made to be edited: every attribute of its training
pictures is known, so the right answer to an edit can be rendered. {description}.

* **Parts** `SD3Transformer2DModel` (18.6 M parameters, 8 layers, 4 heads of 64, patch 2), `AutoencoderKL` (f8,
  8 channels, 2.7 M), two `CLIPTextModelWithProjection` (0.7 M and 0.9 M), no T5, a tokenizer of whole words,
  `FlowMatchEulerDiscreteScheduler` with shift 3. Half-precision safetensors. Beside them `reader/`, a small CNN that
  names the attributes of a portrait, and `framer/`, a smaller one that sees where in a picture a portrait sits.
* **Data** rendered with python-avatars (MIT) and resvg-py: {attributes}. Portraits are split by a hash of their
  attributes; none of the test split was seen in training. Reader and framer also learn from odd portraits, of any parts
  and colours that python-avatars draws; where these have no near word, the reader learns nothing.
* **Captions** from a grammar of {words} words with synonyms; the full vocabulary is in `latentedit.json`. Other words
  are not understood.
* **Recipe** `latentedit models train portraits --recipe {recipe}`. Seconds of training: {seconds}.{history}
* **Use** `StableDiffusion3Pipeline.from_pretrained(folder, text_encoder_3=None, tokenizer_3=None)` with guidance
  {guidance:g}; or `latentedit.load("portraits")`.
* **Limits** drawn portraits in this one style and framing; nothing photographic.
* **Licence** Apache-2.0, weights included.

## Measured on the test split
{quality}
"""


def write_card(folder: Path, attributes: Mapping[str, tuple[str, ...]]) -> None:
    """Write ``folder/README.md`` from ``folder/latentedit.json``; its ``history`` says where the recipe was left.

    Args:
        folder: a finished and measured model.
        attributes: every attribute with its values.
    """
    settings = read_settings(folder)
    card = _CARD.format(
        description=settings["description"],
        attributes=", ".join(f"{name.replace('_', ' ')} ({len(values)})" for name, values in attributes.items()),
        words=len(settings["vocabulary"]),
        recipe=settings["recipe"],
        seconds=", ".join(f"{name} {value}" for name, value in settings["training_seconds"].items()),
        history=f" {settings['history']}" if "history" in settings else "",
        guidance=settings["guidance"],
        quality="\n".join(_table(title, numbers) for title, numbers in settings["quality"].items()),
    )
    (folder / "README.md").write_text(card)


def _table(title: str, numbers: Mapping[str, Any]) -> str:
    names, values = " | ".join(numbers), " | ".join(f"{value:g}" for value in numbers.values())
    return f"**{title}**\n\n| {names} |\n|{'---|' * len(numbers)}\n| {values} |\n"
