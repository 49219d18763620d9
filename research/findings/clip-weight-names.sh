#!/bin/sh
# transformers 4 and 5 name the weights of one CLIP text encoder differently, so a digest of named weights is another one.
#
# Asked: do CLIPTextModel and CLIPTextModelWithProjection of transformers 4.57.3 and 5.23.0 have the same state_dict keys?
# Expected: yes; both read the same files of the hub, without a warning.
# Seen (torch 2.13.0): CLIPTextModel lost the prefix "text_model." in 5, CLIPTextModelWithProjection kept it. Files load in
# both directions, since from_pretrained renames, so nothing shows until names are compared or hashed.
# Fails if that changes.
# One run from a bare environment: 44 s of processor time, 350 MB.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
# PyTorch's own index has the build without CUDA; the one of PyPI takes gigabytes.
"$folder/venv/bin/python" -m pip install --quiet --no-compile --no-deps --extra-index-url https://download.pytorch.org/whl/cpu torch==2.13.0
"$folder/venv/bin/python" -m pip install --quiet --no-compile torch==2.13.0 numpy
for version in 4.57.3 5.23.0; do
    "$folder/venv/bin/python" -m pip install --quiet --no-compile --target "$folder/$version" --no-deps "transformers==$version"
done
"$folder/venv/bin/python" -m pip install --quiet --no-compile --target "$folder/of4" "huggingface-hub<1" "tokenizers>=0.22,<0.23.1" safetensors regex requests pyyaml tqdm filelock packaging
"$folder/venv/bin/python" -m pip install --quiet --no-compile --target "$folder/of5" "huggingface-hub>=1" "tokenizers>=0.22,<0.24" safetensors regex typer pyyaml tqdm filelock packaging
names() {
    PYTHONPATH="$folder/$1:$folder/$2" "$folder/venv/bin/python" -W ignore - <<'PY'
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

small = CLIPTextConfig(vocab_size=9, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1)
for kind in (CLIPTextModel, CLIPTextModelWithProjection):
    print(kind.__name__, sorted(kind(small).state_dict())[0].partition("embeddings")[0] or "none")
PY
}
old=$(names 4.57.3 of4) new=$(names 5.23.0 of5)
printf 'transformers 4.57.3\n%s\ntransformers 5.23.0\n%s\n' "$old" "$new"
expected_old=$(printf 'CLIPTextModel text_model.\nCLIPTextModelWithProjection text_model.')
expected_new=$(printf 'CLIPTextModel none\nCLIPTextModelWithProjection text_model.')
[ "$old" = "$expected_old" ] && [ "$new" = "$expected_new" ]
