#!/bin/sh
# Of metrics of two 8-bit images, one library's PSNR is right and its mean squared error, absolute error, and PSNR-B are wrong.
#
# Asked: gray of 100 against alternating columns of 120 and 80, as uint8, as images are read: the mean squared and absolute error,
# PSNR, PSNR-B, and total variation by torchmetrics; and the same as float.
# Expected: 400, 20, 22.1 dB, 22.1 dB, 9600 by both, or an error that asks for float, as SSIM gives.
# Seen (torchmetrics 1.9.0, torch 2.13.0): 144, 128, 22.1 dB, 26.5 dB, 32128 of uint8, without a message. PSNR converts, the others
# subtract in 8 bits, where 80 - 100 is 236, and its square 144. scikit-learn's mean squared error is 400 of uint8 as well.
# Hurt: those who compare images as they were read. A PSNR that is right vouches for an error that is not.
# Guess 3.33 expected PSNR to be wrong as well, as it was (torchmetrics' issue 2787). Fails if that changes.
# One run from a bare environment: 21 s of processor time, 328 MB.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
# PyTorch's own index has the build without CUDA; the one of PyPI takes gigabytes.
"$folder/venv/bin/python" -m pip install --quiet --no-compile --no-deps --extra-index-url https://download.pytorch.org/whl/cpu torch==2.13.0
"$folder/venv/bin/python" -m pip install --quiet --no-compile torch==2.13.0 numpy==2.4.6 scikit-learn==1.9.1 torchmetrics==1.9.0
found=$("$folder/venv/bin/python" -W ignore - <<'PY'
import torch
from sklearn.metrics import mean_squared_error as of_sklearn
from torchmetrics.functional import mean_absolute_error, mean_squared_error
from torchmetrics.functional.image import peak_signal_noise_ratio as psnr
from torchmetrics.functional.image import peak_signal_noise_ratio_with_blocked_effect as psnr_b
from torchmetrics.functional.image import total_variation

flat = torch.full((1, 1, 16, 16), 100, dtype=torch.uint8)
striped = torch.full_like(flat, 120)
striped[..., 1::2] = 80
for kind in (torch.uint8, torch.float32):
    one, other = flat.to(kind), striped.to(kind)
    values = {
        "MSE": mean_squared_error(one, other),
        "MAE": mean_absolute_error(one, other),
        "PSNR": psnr(one, other, data_range=255.0),
        "PSNR-B": psnr_b(one, other, data_range=255.0),
        "TV": total_variation(other),
        "MSE of scikit-learn": of_sklearn(one.flatten(), other.flatten()),
    }
    print(str(kind).removeprefix("torch.") + ":", ", ".join(f"{name} {float(value):.1f}" for name, value in values.items()))
PY
)
echo "$found"
expected='uint8: MSE 144.0, MAE 128.0, PSNR 22.1, PSNR-B 26.5, TV 32128.0, MSE of scikit-learn 400.0
float32: MSE 400.0, MAE 20.0, PSNR 22.1, PSNR-B 22.1, TV 9600.0, MSE of scikit-learn 400.0'
[ "$found" = "$expected" ]
