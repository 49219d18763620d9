# %% [markdown]
"""
# Directions as files

Identify a change on one image, save it to a file, and apply it to another image, alone and with a second change:
`python examples/directions.py` writes the results to `out/examples/`.
"""

# %%
from pathlib import Path

from PIL import Image

import latentedit as le

folder = Path("out/examples")
folder.mkdir(parents=True, exist_ok=True)

model = le.load("portraits")
me, you = (le.encode(model, f"docs/images/{name}.png") for name in ("me", "you"))

# %% [markdown]
"""
The file contains the direction (safetensors), its method and its model: loading it with another model is an error.
"""

# %%
le.identify(me, change="=> glasses").save(folder / "glasses.safetensors")
glasses = le.Direction.load(folder / "glasses.safetensors", model=model)
print(glasses.method, glasses.fingerprint)

# %% [markdown]
"""
On the other image the displacement is the same. Its effect may differ; the verdict measures it.
"""

# %%
edit = le.manipulate(you, glasses, strength=1.0)
edit.save(folder / "you-glasses.png")
print(edit.verdict.text)

# %% [markdown]
"""
With two directions, the cross-talk states how much of each comes along with the other.
"""

# %%
wink = le.identify(you, change="=> closed eyes")
both = le.manipulate(you, [glasses, wink], strength=[1.0, 0.7])
both.save(folder / "you-both.png")
print(both.cross_talk)

# %% [markdown]
"""
You can undo an edit, in memory or from its PNG file.
"""

# %%
undone = edit.undo()
print("as before, pixel for pixel:", undone.tobytes() == Image.open("docs/images/you.png").convert("RGB").tobytes())
