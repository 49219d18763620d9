#!/bin/sh
# Fusing a LoRA at half strength and unfusing it leaves the adapter at half strength; peft's merged rsLoRA is too strong.
#
# Asked: (1) diffusers: fuse_lora(lora_scale=.5), then unfuse_lora(), twice: how strong is the adapter afterwards? (2) peft:
# add_weighted_adapter with weight 1 of one adapter of rank 16 trained with use_rslora: how strong is the copy?
# Expected: 1 in both: unfusing undoes fusing, and a combination of one adapter with weight 1 is that adapter.
# Seen (diffusers 0.42.1, peft 0.21.2, torch 2.13.0): (1) 1, .5, .25: the scale of the adapter is multiplied and never
# restored, so a second fuse_lora(lora_scale=.5) gives a quarter. (2) 4 times: the copy holds the scaled weights and is
# scaled by alpha / sqrt(rank) again, which is 1 only without rsLoRA.
# Hurt: those who switch fused adapters on and off in one process, and those who merge rsLoRA adapters.
# Fails if that changes.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
"$folder/venv/bin/python" -m pip install --quiet torch==2.13.0 numpy diffusers==0.42.1 peft==0.21.2 transformers==5.23.0
found=$("$folder/venv/bin/python" -W ignore - 2>/dev/null <<'PY'
import torch
from diffusers import SD3Transformer2DModel
from peft import LoraConfig, get_peft_model

network = SD3Transformer2DModel(
    sample_size=4, patch_size=1, in_channels=4, num_layers=1, attention_head_dim=8, num_attention_heads=2,
    joint_attention_dim=16, caption_projection_dim=16, pooled_projection_dim=16, out_channels=4, pos_embed_max_size=4,
)
network.add_adapter(LoraConfig(r=4, lora_alpha=4, target_modules=["to_q"], init_lora_weights=False), "own")
layer = network.transformer_blocks[0].attn.to_q
strengths = [layer.scaling["own"]]
for _ in range(2):
    network.fuse_lora(lora_scale=0.5)
    network.unfuse_lora()
    strengths.append(layer.scaling["own"])
print("fused and unfused", *strengths)
for rank_stabilized in (False, True):
    config = LoraConfig(r=16, lora_alpha=16, target_modules=["0"], init_lora_weights=False, use_rslora=rank_stabilized)
    model = get_peft_model(torch.nn.Sequential(torch.nn.Linear(32, 32)), config)
    model.add_weighted_adapter(["default"], [1.0], "copy", combination_type="cat")
    changes = [model.base_model.model[0].get_delta_weight(name).norm() for name in ("default", "copy")]
    print("rslora" if rank_stabilized else "lora", f"{float(changes[1] / changes[0]):.2f}")
PY
)
echo "$found"
expected=$(printf 'fused and unfused 1.0 0.5 0.25\nlora 1.00\nrslora 4.00')
[ "$found" = "$expected" ]
