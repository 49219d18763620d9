# %% [markdown]
"""
# A picture with a slider

One change of one picture at several strengths, as a page that needs no server: `python examples/slider.py` writes
`out/examples/slider.html`, to be opened in any browser or sent to somebody.
"""

# %%
from pathlib import Path

import latentedit as le
from latentedit_portraits.attributes import draw_split
from latentedit_portraits.render import render

folder = Path("out/examples")
folder.mkdir(parents=True, exist_ok=True)

# %% [markdown]
"""
The bundled model knows drawn portraits of 128 x 128 pixels. With a model of your own, see `own_pipeline.py`, any
photograph does in the place of this one.
"""

# %%
portrait = next(one for one in draw_split("test", 50, seed=3) if one.accessory == "none")
render(portrait).save(folder / "me.png")

model = le.load("portraits")
latent = le.encode(model, folder / "me.png")
print(latent.captions[0])

# %% [markdown]
"""
A direction is found once, and then moved along at every strength: 0 is the picture itself, 1 the whole change. The
verdict says how much of the change the model sees in each picture.
"""

# %%
glasses = le.identify(latent, change="=> glasses")
strip = le.sweep(latent, glasses, strengths=[0.0, 0.25, 0.5, 0.75, 1.0, 1.25])
for edit in strip:
    print(f"{edit.strength:.2f}  {edit.verdict.text}")

# %% [markdown]
"""
Left of the wipe is the picture, right of it the edit. The keys of the arrows move the slider.
"""

# %%
view = le.view(strip, title="Glasses")
view.save(folder / "slider.html")
print(f"wrote {folder / 'slider.html'}")
view
