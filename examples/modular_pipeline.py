# %% [markdown]
"""
# Blocks for a modular pipeline of diffusers

`Keep` copies an editor's change onto the source's own pixels, `SemanticEdit` edits at a strength with the networks of
the pipeline. Copy the block that you need, and insert it after the blocks of your pipeline.

* `python examples/modular_pipeline.py photo.jpg` edits a photograph with FLUX.2 Klein, downloaded from the hub on first
  use
* `python examples/modular_pipeline.py --miniature` runs the same code with a tiny Stable Diffusion 3 of random weights:
  it shows that the code works, and draws noise
"""

# %%
import sys
from pathlib import Path

import torch
from diffusers.modular_pipelines import (
    Flux2KleinAutoBlocks,
    InputParam,
    ModularPipelineBlocks,
    OutputParam,
    StableDiffusion3AutoBlocks,
)
from PIL import Image

import latentedit as le
from latentedit.testing import sd3_pipeline

MINIATURE = "--miniature" in sys.argv  # in a notebook, set both: True or False, and a file name
PHOTO = "photo.jpg" if MINIATURE else sys.argv[-1]

folder = Path("out/examples")
folder.mkdir(parents=True, exist_ok=True)

# %% [markdown]
"""
The inputs and outputs of a block are names in the state of the pipeline: `image` is the source, `images` is what the
blocks before this one made.
"""


# %%
class Keep(ModularPipelineBlocks):
    @property
    def description(self):
        return "Keeps only the change of an editor, on the source's own pixels."

    @property
    def inputs(self):
        return [InputParam("image", required=True), InputParam("images", required=True)]

    @property
    def intermediate_outputs(self):
        return [OutputParam("images"), OutputParam("keep_masks"), OutputParam("keep_reports")]

    def __call__(self, components, state):
        values = self.get_block_state(state)
        results = [le.keep(values.image, edited) for edited in values.images]
        values.images = [result.image for result in results]
        values.keep_masks = [result.mask for result in results]
        values.keep_reports = [result.measures for result in results]
        self.set_block_state(state, values)
        return components, state


class SemanticEdit(ModularPipelineBlocks):
    @property
    def description(self):
        return "Edits images from a source prompt to a target prompt at a strength."

    @property
    def inputs(self):
        return [
            InputParam("images", required=True),
            InputParam("source_prompt", required=True),
            InputParam("target_prompt", required=True),
            InputParam("edit_strength", default=1.0),
        ]

    @property
    def intermediate_outputs(self):
        return [OutputParam("images"), OutputParam("edit_results")]

    def __call__(self, components, state):
        values = self.get_block_state(state)
        model = le.from_pipeline(components, settings={"sizes": [64, 64, 96]} if MINIATURE else None)
        values.edit_results = le.edit(
            model,
            values.images,
            values.target_prompt,
            source_prompt=values.source_prompt,
            strength=values.edit_strength,
        )
        values.images = [result.image for result in values.edit_results]
        self.set_block_state(state, values)
        return components, state


# %%
def load(blocks):
    if not MINIATURE:
        pipeline = blocks.init_pipeline("black-forest-labs/FLUX.2-klein-4B")
        pipeline.load_components(dtype=torch.bfloat16)
        return pipeline.to("cuda")
    pipeline = blocks.init_pipeline()
    networks = sd3_pipeline(t5=False).components
    names = [name for name in pipeline.component_names if networks.get(name) is not None]
    pipeline.update_components(**{name: networks[name] for name in names})
    return pipeline


if MINIATURE:
    photo = Image.linear_gradient("L").resize((64, 64)).convert("RGB")
    size = {"height": 64, "width": 64, "num_inference_steps": 2}
    AutoBlocks = StableDiffusion3AutoBlocks
else:
    photo = Image.open(PHOTO).convert("RGB")
    size = {}
    AutoBlocks = Flux2KleinAutoBlocks

# %% [markdown]
"""
Keep only the change that the pipeline made to a photograph.
"""

# %%
blocks = AutoBlocks()
blocks.sub_blocks.insert("keep", Keep(), len(blocks.sub_blocks))
generator = torch.Generator().manual_seed(0)
state = load(blocks)(image=photo, prompt="a red scarf", generator=generator, **size)
kept = state.images[0]
kept.save(folder / "modular-kept.png")
state.keep_masks[0].save(folder / "modular-mask.png")
print(state.keep_reports[0]["found"])

# %% [markdown]
"""
Generate an image, and edit it.
"""

# %%
blocks = AutoBlocks()
blocks.sub_blocks.insert("edit", SemanticEdit(), len(blocks.sub_blocks))
words = {"source_prompt": "a photo of a man", "target_prompt": "a photo of a man with a beard"}
state = load(blocks)(prompt=words["source_prompt"], **words, edit_strength=0.7, generator=generator, **size)
edit = state.edit_results[0]
edit.save(folder / "modular-edit.png")
print(f"{edit.verdict.text}; {edit.cost.evaluations:g} evaluations")
