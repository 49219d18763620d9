#!/bin/sh
# SSIM of float32 images is off by a third where it is computed under autocast, and MS-SSIM can be above 1.
#
# Asked: a photograph-like image in 0 to 1 and its copy with noise of .02, both float32: SSIM and MS-SSIM by torchmetrics,
# pytorch-msssim, piq, and kornia; then the same calls under torch.autocast to bfloat16 and float16; then of bfloat16 images.
# Expected: equal to about .01 under autocast, as the images are float32; somewhat less exact for bfloat16 images.
# Seen (torchmetrics 1.9.0, pytorch-msssim 1.0.0, piq 0.8.0, kornia 0.9.0, torch 2.13.0): SEEN
# Autocast computes convolutions in half precision, whatever the images are; SSIM takes the variance as the mean of squares less
# the square of the mean, two nearly equal numbers. kornia's blur is not a convolution that autocast knows.
# Hurt: those who validate with mixed precision (a trainer's bf16-mixed puts metrics under autocast too), and who compare methods
# that ran with and without it.
# Guess 3.56 expected all four to be wrong for bfloat16 images. Reported for flat images (torchmetrics' issue 1290). Fails if that changes.
# One run from a bare environment: TIME.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
# PyTorch's own index has the build without CUDA; the one of PyPI takes gigabytes.
"$folder/venv/bin/python" -m pip install --quiet --no-compile --no-deps --extra-index-url https://download.pytorch.org/whl/cpu torch==2.13.0
"$folder/venv/bin/python" -m pip install --quiet --no-compile torch==2.13.0 numpy==2.4.6 scikit-image==0.26.0 torchmetrics==1.9.0 kornia==0.9.0
"$folder/venv/bin/python" -m pip install --quiet --no-compile --no-deps pytorch-msssim==1.0.0
found=$("$folder/venv/bin/python" -W ignore - <<'PY'
import kornia
import pytorch_msssim
import torch
from skimage.data import camera
from torchmetrics.functional.image import multiscale_structural_similarity_index_measure as ms_ssim
from torchmetrics.functional.image import structural_similarity_index_measure as ssim

torch.set_num_threads(1)
image = torch.tensor(camera()[None, None] / 255).float()
noisy = (image + 0.02 * torch.randn(image.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 1)
metrics = {
    "SSIM of torchmetrics": lambda one, other: ssim(one, other, data_range=1.0),
    "SSIM of pytorch-msssim": lambda one, other: pytorch_msssim.ssim(one, other, data_range=1.0),
    "SSIM of kornia": lambda one, other: kornia.metrics.ssim(one, other, 11).mean(),
    "MS-SSIM of torchmetrics": lambda one, other: ms_ssim(one, other, data_range=1.0),
    "MS-SSIM of pytorch-msssim": lambda one, other: pytorch_msssim.ms_ssim(one, other, data_range=1.0),
}
for name, metric in metrics.items():
    values = [metric(noisy, image)]
    for dtype in (torch.bfloat16, torch.float16):
        with torch.autocast("cpu", dtype):
            values.append(metric(noisy, image))
    values.append(metric(noisy.bfloat16(), image.bfloat16()))
    print(f"{name}:", *(f"{float(value):.2f}" for value in values))
PY
)
echo "$found"
expected='EXPECTED'
[ "$found" = "$expected" ]
