#!/bin/sh
# Functions for the slope of an image give four numbers for one ramp, and those for the Laplacian differ in sign.
#
# Asked: the magnitude of the gradient of f(x, y) = x, and the Laplacian of x squared, by the functions that are named for it.
# Expected: 1 and 2 where a library normalizes, 8 (the sum of Sobel's weights) where it does not.
# Seen (scikit-image 0.26.0, kornia 0.9.0, torchmetrics 1.9.0, SciPy 1.17.1, OpenCV 5.0.0): scikit-image's sobel, scharr, and prewitt
# are normalized, and give 1.41: weights are divided by half of their sum, and the two directions by the root of two. Its sobel_v alone
# gives 2, kornia and torchmetrics 1, OpenCV and SciPy 8. The Laplacian is 2 by OpenCV and SciPy, .375 by kornia, and -2 by
# scikit-image: subtracting it, which sharpens with the others, blurs.
# Hurt: those who take a threshold for edges, or a measure of sharpness, from one library to another.
# Guess 3.25. The sign is reported (scikit-image's issue 7357). Fails if that changes.
# One run from a bare environment: 27 s of processor time, 354 MB.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
# PyTorch's own index has the build without CUDA; the one of PyPI takes gigabytes.
"$folder/venv/bin/python" -m pip install --quiet --no-compile --no-deps --extra-index-url https://download.pytorch.org/whl/cpu torch==2.13.0
"$folder/venv/bin/python" -m pip install --quiet --no-compile torch==2.13.0 numpy==2.4.6 scikit-image==0.26.0 scipy==1.17.1 \
    kornia==0.9.0 torchmetrics==1.9.0 opencv-python-headless==5.0.0.93
found=$("$folder/venv/bin/python" -W ignore - <<'PY'
import cv2
import kornia
import numpy as np
import torch
from scipy import ndimage
from skimage import filters
from torchmetrics.functional.image import image_gradients

ramp = np.tile(np.arange(32.0), (32, 1))
tensor, at = torch.tensor(ramp)[None, None], (16, 16)
slopes = {
    "scikit-image sobel": filters.sobel(ramp),
    "scikit-image scharr": filters.scharr(ramp),
    "scikit-image prewitt": filters.prewitt(ramp),
    "scikit-image sobel_v": filters.sobel_v(ramp),
    "kornia sobel": kornia.filters.sobel(tensor)[0, 0],
    "kornia spatial_gradient": kornia.filters.spatial_gradient(tensor)[0, 0, 0],
    "torchmetrics image_gradients": image_gradients(tensor)[1][0, 0],
    "SciPy sobel": ndimage.sobel(ramp, axis=1),
    "OpenCV Sobel": cv2.Sobel(ramp, cv2.CV_64F, 1, 0),
}
for name, values in slopes.items():
    print(f"{name} {float(values[at]):.2f}")
square = ramp**2
laplacians = {
    "scikit-image laplace": filters.laplace(square),
    "SciPy laplace": ndimage.laplace(square),
    "OpenCV Laplacian": cv2.Laplacian(square, cv2.CV_64F),
    "kornia laplacian": kornia.filters.laplacian(tensor**2, 3)[0, 0],
}
for name, values in laplacians.items():
    print(f"{name} {float(values[at]):.3f}")
PY
)
echo "$found"
expected='scikit-image sobel 1.41
scikit-image scharr 1.41
scikit-image prewitt 1.41
scikit-image sobel_v 2.00
kornia sobel 1.00
kornia spatial_gradient 1.00
torchmetrics image_gradients 1.00
SciPy sobel 8.00
OpenCV Sobel 8.00
scikit-image laplace -2.000
SciPy laplace 2.000
OpenCV Laplacian 2.000
kornia laplacian 0.375'
[ "$found" = "$expected" ]
