# %% [markdown]
"""
# Your own diffusers pipeline

Pass a pipeline that you have loaded, with its dtype, device, LoRAs and offloading.

* `python examples/own_pipeline.py photo.jpg` edits a photograph with FLUX.2 Klein, downloaded from the hub on first use
* `python examples/own_pipeline.py --miniature` runs the same code with a tiny Stable Diffusion 3 of random weights: it
  shows that the code works, and draws noise
"""

# %%
import sys
from pathlib import Path

import torch
from diffusers import Flux2KleinPipeline
from PIL import Image

import latentedit as le
from latentedit.testing import sd3_pipeline

MINIATURE = "--miniature" in sys.argv  # in a notebook, set both: True or False, and a file name
PHOTO = "photo.jpg" if MINIATURE else sys.argv[-1]

folder = Path("out/examples")
folder.mkdir(parents=True, exist_ok=True)

# %% [markdown]
"""
Load the pipeline as usual; call `pipe.load_lora_weights(...)` and `pipe.enable_model_cpu_offload()` before
`from_pipeline`.
"""

# %%
if MINIATURE:
    pipe = sd3_pipeline(t5=False)
    image = Image.linear_gradient("L").resize((64, 64)).convert("RGB")
else:
    pipe = Flux2KleinPipeline.from_pretrained("black-forest-labs/FLUX.2-klein-base-4B", dtype=torch.bfloat16)
    pipe = pipe.to("cuda")
    image = PHOTO

model = le.from_pipeline(pipe, settings={"sizes": [64, 64, 96]} if MINIATURE else None)

# %% [markdown]
"""
The model has no captioner: describe the image, or choose one with `captioner=`.
"""

# %%
words = {"source_prompt": "a photo of a man in a park", "prompt": "a photo of a man with a beard in a park"}
edit = le.edit(model, image, **words, strength=0.8)
edit.save(folder / "own.png")
print(f"{edit.verdict.text}; {edit.cost.evaluations:g} evaluations")

# %% [markdown]
"""
That was `flowedit`, the default for a model without tuned settings. Select any other editor by its name:
`latentedit methods` lists them.
"""

# %%
other = le.edit(model, image, **words, method="eim")
other.save(folder / "own-eim.png")
print(f"{other.verdict.text}; {other.cost.evaluations:g} evaluations")
