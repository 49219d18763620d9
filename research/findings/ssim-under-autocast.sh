#!/bin/sh
# SSIM of float32 images is another number under autocast, .50 for .83, unless the library switches autocast off.
#
# Asked: a photograph in 0 to 1 and its copy with noise of .02, both float32: SSIM and MS-SSIM by torchmetrics, pytorch-msssim,
# and kornia; then the same calls under torch.autocast to bfloat16 and to float16; then of bfloat16 images.
# Expected: equal to about .01 under autocast, as the images are float32; all wrong for bfloat16 images.
# Seen (torchmetrics 1.9.0, pytorch-msssim 1.0.0, kornia 0.9.0, torch 2.13.0): SSIM of .83 becomes .50 and .75 by torchmetrics, .89 and
# .81 by pytorch-msssim, and stays .83 by kornia, also for bfloat16 images; MS-SSIM of .97 becomes .74 and 1.00. Autocast computes
# convolutions in half precision, whatever the images are, and SSIM takes the variance as the mean of squares less the square of
# the mean, two nearly equal numbers. kornia switches autocast off, and computes half precision in float32, as it documents.
# Hurt: those who validate with mixed precision (a trainer's bf16-mixed puts metrics under autocast too), and who compare methods
# that ran with and without it.
# Guess 3.56, on bfloat16 images. Reported for flat images, and closed (torchmetrics' issue 1290). Fails if that changes.
# One run from a bare environment: 30 s of processor time, 704 MB.
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
expected='SSIM of torchmetrics: 0.83 0.50 0.75 0.92
SSIM of pytorch-msssim: 0.83 0.89 0.81 0.91
SSIM of kornia: 0.83 0.83 0.83 0.83
MS-SSIM of torchmetrics: 0.97 0.74 0.90 0.98
MS-SSIM of pytorch-msssim: 0.97 1.00 0.92 0.99'
[ "$found" = "$expected" ]
