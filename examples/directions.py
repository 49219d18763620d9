# %% [markdown]
"""
# Directions as files

A change is found on one picture, kept in a file, and put on another picture, alone and with a second change:
`python examples/directions.py` writes them to `out/examples/`.
"""

# %%
from pathlib import Path

from PIL import Image

import latentedit as le
from latentedit_portraits.attributes import draw_split
from latentedit_portraits.render import render

folder = Path("out/examples")
folder.mkdir(parents=True, exist_ok=True)

portraits = [one for one in draw_split("test", 50, seed=3) if one.accessory == "none"]
for name, portrait in zip(("me", "you"), portraits, strict=False):
    render(portrait).save(folder / f"{name}.png")

model = le.load("portraits")
me, you = (le.encode(model, folder / f"{name}.png") for name in ("me", "you"))

# %% [markdown]
"""
The file holds the direction as numbers (safetensors), how it was found, and for which model: another model refuses it.
"""

# %%
le.identify(me, change="=> glasses").save(folder / "glasses.safetensors")
glasses = le.Direction.load(folder / "glasses.safetensors", model=model)
print(glasses.method, glasses.fingerprint)

# %% [markdown]
"""
On the other picture it is the same displacement. Whether it does the same there is measured, not assumed.
"""

# %%
edit = le.manipulate(you, glasses, strength=1.0)
edit.save(folder / "you-glasses.png")
print(edit.verdict.text)

# %% [markdown]
"""
Of two directions on one picture the cross-talk says how much of each comes along with the other.
"""

# %%
wink = le.identify(you, change="=> closed eyes")
both = le.manipulate(you, [glasses, wink], strength=[1.0, 0.7])
both.save(folder / "you-both.png")
print(both.cross_talk)

# %% [markdown]
"""
An edit keeps the way back, in memory as in the PNG that it was saved to.
"""

# %%
undone = edit.undo()
print("as before, pixel for pixel:", undone.tobytes() == Image.open(folder / "you.png").convert("RGB").tobytes())
