#!/bin/sh
# Each time that a LoRA is merged into layers of 8 bits and taken out, the model moves on: it does not come back.
#
# Asked: peft merges a LoRA into bitsandbytes' 8-bit layers and takes it out, ten times. How far is the output from that before?
# Expected: some per cent of the LoRA's effect from the first time, since weights are rounded anew; then it settles, as the rounded
# values fall on the same steps again.
# Seen (peft 0.21.2, bitsandbytes 0.50.2, torch 2.13.0, on a CPU): a tenth after the first time, and more after each, a fifth after
# ten. Each merge and each removal rounds all weights anew, to steps that depend on the largest weight of their row.
# Hurt: whoever switches styles by merging on a model loaded in 8 bits: the base drifts, and only loading it again helps.
# peft warns of rounding errors at a merge, not that they add up. Guess 10.15. Fails if that changes.
# One run from a bare environment: 28 s of processor time, 422 MB.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
# PyTorch's own index has the build without CUDA; the one of PyPI takes gigabytes.
"$folder/venv/bin/python" -m pip install --quiet --no-compile --no-deps --extra-index-url https://download.pytorch.org/whl/cpu torch==2.13.0
"$folder/venv/bin/python" -m pip install --quiet --no-compile torch==2.13.0 numpy==2.4.6 peft==0.21.2 transformers==5.23.0 accelerate==1.15.0 bitsandbytes==0.50.2
found=$(HF_HUB_OFFLINE=1 "$folder/venv/bin/python" -W ignore - <<'PY'
import sys

import bitsandbytes
import peft
import torch

torch.manual_seed(0)
torch.set_num_threads(1)
layers = []
for _ in range(4):
    whole = torch.nn.Linear(256, 256)
    layer = bitsandbytes.nn.Linear8bitLt(256, 256, has_fp16_weights=False)
    layer.weight = bitsandbytes.nn.Int8Params(whole.weight.data, requires_grad=False, has_fp16_weights=False)
    layer.bias = whole.bias
    layers += [layer.to("cpu"), torch.nn.GELU()]
network = torch.nn.Sequential(*layers)
network.is_loaded_in_8bit = True  # as transformers marks them; peft goes by it
model = peft.get_peft_model(network, peft.LoraConfig(r=8, lora_alpha=8, target_modules=["0", "2", "4", "6"])).eval()
for part in model.modules():
    if isinstance(part, peft.tuners.lora.bnb.Linear8bitLt):
        inner, outer = part.lora_A["default"].weight, part.lora_B["default"].weight
        change = torch.randn_like(outer)
        norm = part.state_dict()["base_layer.weight"].numel() ** 0.5 / (3 * 256) ** 0.5  # of a Linear's weights at the start
        outer.data = change * (0.1 * norm / (change @ inner).norm())
given = torch.randn(16, 256)
with torch.no_grad():
    model(given)
    with_it = model(given)
    with model.disable_adapter():
        before = model(given)
    drift = []
    for _ in range(10):
        model.merge_adapter()
        model.unmerge_adapter()
        with model.disable_adapter():
            drift.append(((model(given) - before).norm() / (with_it - before).norm()).item())
print(*[f"{one:.3f}" for one in drift], file=sys.stderr)
print("after the first time above .03:", drift[0] > 0.03)
print("grew from the first to the tenth by half or more:", drift[9] > 1.5 * drift[0])
print("still growing from the fifth on:", drift[9] > 1.1 * drift[4])
PY
)
echo "$found"
[ "$found" = "after the first time above .03: True
grew from the first to the tenth by half or more: True
still growing from the fifth on: True" ]
