# %% [markdown]
"""
# An image with a slider

One change at several strengths, as a page that needs no server: `python examples/slider.py` writes
`out/examples/slider.html`, which opens in any browser.
"""

# %%
from pathlib import Path

import latentedit as le

folder = Path("out/examples")
folder.mkdir(parents=True, exist_ok=True)

# %% [markdown]
"""
The bundled model was trained on drawn portraits of 128 x 128 pixels. To use a photograph instead, load your own model
(see `own_pipeline.py`).
"""

# %%
model = le.load("portraits")
latent = le.encode(model, "docs/images/me.png")
print(latent.captions[0])

# %% [markdown]
"""
A direction is identified once and applied at every strength: 0 is the original image, 1 the full change. The verdict
reports how much of the change the model detects in each image.
"""

# %%
glasses = le.identify(latent, change="=> glasses")
strip = le.Session(latent).sweep(glasses, strengths=[0.0, 0.25, 0.5, 0.75, 1.0, 1.25])[0]
for edit in strip:
    print(f"{edit.strength:.2f}  {edit.verdict.text}")

# %% [markdown]
"""
Left of the divider is the original, right of it the edit. The arrow keys move the slider.
"""

# %%
view = le.view(strip, title="Glasses")
view.save(folder / "slider.html")
print(f"wrote {folder / 'slider.html'}")
view
