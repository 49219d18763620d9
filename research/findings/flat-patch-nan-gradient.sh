#!/bin/sh
# One patch without contrast makes the gradients of five image losses nan, though their values are finite.
#
# Asked: the gradient, with respect to the image, of piq's losses between a textured image and its copy with noise; then with a
# patch of 9 x 9 px, black in both.
# Expected: finite in all. nan between two equal images would be no surprise.
# Seen (piq 0.8.0, torch 2.13.0): finite without the patch. With it the gradients of GMSD, MDSI, FSIM, VSI, and SR-SIM are nan at
# some pixels, and dual numbers give nan as the derivative of the loss. SSIM, HaarPSI, and VIF stay finite. The five take the root of
# squared local differences, whose derivative at exactly 0 is infinite. (Gray does it too where a processor's rounding cancels.)
# Hurt: whoever trains, edits, or measures sensitivity by these losses on images with a black frame, a mask, or clipped shadows:
# through a network, nan at one pixel becomes nan in every weight.
# Guess 3.18; 3.7 asked it of equal images. Reported for GMSD and a constant image (piq's issue 308). Fails if that changes.
# One run from a bare environment: 27 s of processor time, 395 MB.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
# PyTorch's own index has the build without CUDA; the one of PyPI takes gigabytes.
"$folder/venv/bin/python" -m pip install --quiet --no-compile --no-deps --extra-index-url https://download.pytorch.org/whl/cpu torch==2.13.0
"$folder/venv/bin/python" -m pip install --quiet --no-compile torch==2.13.0 numpy scipy==1.17.1
"$folder/venv/bin/python" -m pip install --quiet --no-compile --no-deps piq==0.8.0
found=$("$folder/venv/bin/python" -W ignore - <<'PY'
import sys
import types

import torch


class Absent(types.ModuleType):
    """In place of torchvision, which piq imports for its learned metrics; they are not used here."""

    def __getattr__(self, name):
        return torch.nn.Module if name[0].isupper() else Absent(name)


absent = {name: Absent(name) for name in ("torchvision", "torchvision.models", "torchvision.models.utils")}
sys.modules |= absent
import piq

for name in absent:
    del sys.modules[name]

torch.set_num_threads(1)
draw = torch.Generator().manual_seed(0)
small = torch.rand(1, 3, 32, 32, generator=draw)
image = torch.nn.functional.interpolate(small, (128, 128), mode="bicubic").clamp(0, 1)
image = (image + 0.02 * torch.randn(image.shape, generator=draw)).clamp(0.02, 0.98)
noisy = (image + 0.05 * torch.randn(image.shape, generator=draw)).clamp(0.01, 0.99)
step = torch.randn(image.shape, generator=draw)
for name in ("ssim", "haarpsi", "vif_p", "gmsd", "mdsi", "fsim", "vsi", "srsim"):
    row = [name]
    for patch in (None, 0.0):
        one, other = image.clone(), noisy.clone()
        if patch is not None:
            one[..., 60:69, 60:69] = other[..., 60:69, 60:69] = patch
        loss = getattr(piq, name)
        value = loss(one.requires_grad_(), other)
        (gradient,) = torch.autograd.grad(value, one)
        _, slope = torch.func.jvp(lambda pixels: loss(pixels, other), (one.detach(),), (step,))
        assert value.isfinite()
        row += ["finite" if found.isfinite().all() else "nan" for found in (gradient, slope)]
    print(*row)
PY
)
echo "$found"
expected='ssim finite finite finite finite
haarpsi finite finite finite finite
vif_p finite finite finite finite
gmsd finite finite nan nan
mdsi finite finite nan nan
fsim finite finite nan nan
vsi finite finite nan nan
srsim finite finite nan nan'
[ "$found" = "$expected" ]
