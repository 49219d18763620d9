#!/bin/sh
# The AUROC of a perfect ranking is .5 if the scores are large: they go through a sigmoid first, and become equal.
#
# Asked: the area under the ROC curve and the average precision of 100 scores between 20 and 40, such as distances between images,
# the upper half of which are the positives; and of the same scores divided by 50, and of 14 to 24.
# Expected: 1 in all: both depend on the order alone, and so they do in scikit-learn.
# Seen (torchmetrics 1.9.0, scikit-learn 1.9.1, torch 2.13.0): .5 and .5 for scores of 20 to 40, 1 after the division, without a
# message. One score above 1 or below 0 makes all of them logits, as the documentation says; from 17 on the sigmoid is 1 in float32,
# and those scores tie. Scores of 14 to 24 get .77 and .68; in float64 the ties begin at 37.
# Hurt: those who rate detectors of changes, anomalies, or memorized images by distances: a perfect one looks like chance.
# Guess 3.39, which expected the sigmoid to harm the Jaccard index, was wrong. Fails if that changes.
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
from sklearn.metrics import average_precision_score, roc_auc_score
from torchmetrics.functional.classification import binary_auroc, binary_average_precision

positive = torch.arange(100) >= 50
for low, high in ((0.4, 0.8), (14, 24), (20, 40)):
    scores = torch.linspace(low, high, 100)
    rows = (binary_auroc, binary_average_precision), (roc_auc_score, average_precision_score)
    values = [float(one(scores, positive.long())) for one in rows[0]] + [float(one(positive, scores)) for one in rows[1]]
    print(f"{low} to {high}:", *(f"{value:.2f}" for value in values), f"float64 {float(binary_auroc(scores.double(), positive.long())):.2f}")
PY
)
echo "$found"
expected='0.4 to 0.8: 1.00 1.00 1.00 1.00 float64 1.00
14 to 24: 0.77 0.68 1.00 1.00 float64 1.00
20 to 40: 0.50 0.50 1.00 1.00 float64 1.00'
[ "$found" = "$expected" ]
