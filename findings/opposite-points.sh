#!/bin/sh
# Far apart counts as near: logarithms of almost opposite points, and the distance of orthogonal subspaces, are wrong
# without a message.
#
# Asked: the length of the logarithm on the sphere from x to a point 1e-9 rad from -x, in float64; and the distance of two
# planes in R^4 that share no direction, both principal angles pi / 2 (and, as a control, 1.5).
# Expected: pi by all three libraries; for the planes pi / 2 times a constant of the metric, the largest distance there is.
# Seen (geomstats 2.8.0, pymanopt 2.2.1, geoopt 0.5.1): logarithms of 2.6e7 (geomstats), 3.14 (pymanopt), .031 (geoopt; in
# float32 .31 at 1e-5 rad already). Grassmann distance of the orthogonal planes by geomstats: 0, that of equal ones.
# Hurt: those who average, interpolate or compare directions and subspaces; in high dimensions many are orthogonal.
# geomstats 2.8.0 does not import with numpy 2.4, which its requirements allow.
# Fails if that changes.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
"$folder/venv/bin/python" -m pip install --quiet torch==2.13.0 "numpy<2.4" geomstats==2.8.0 pymanopt==2.2.1 geoopt==0.5.1
found=$("$folder/venv/bin/python" -W ignore - 2>/dev/null <<'PY'
import math

import geoopt
import numpy as np
import pymanopt
import torch
from geomstats.geometry.grassmannian import Grassmannian
from geomstats.geometry.hypersphere import Hypersphere

x, normal, angle = np.array([0.6, 0.8, 0.0]), np.array([0.0, 0.0, 1.0]), math.pi - 1e-9
y = math.cos(angle) * x + math.sin(angle) * normal
print("geomstats", "above 1e6" if np.linalg.norm(Hypersphere(2).metric.log(y, x)) > 1e6 else "another length")
print("pymanopt", f"{np.linalg.norm(pymanopt.manifolds.Sphere(3).log(x, y)):.2f}")
print("geoopt", f"{float(geoopt.Sphere().logmap(torch.tensor(x), torch.tensor(y)).norm()):.2f}")
axes = np.eye(4)
for angle in (1.5, math.pi / 2):
    turned = math.cos(angle) * axes[:, :2] + math.sin(angle) * axes[:, 2:]
    first, second = axes[:, :2] @ axes[:, :2].T, turned @ turned.T
    print(f"planes at {angle:.2f}: {abs(float(Grassmannian(4, 2).metric.dist(first, second))):.2f}")
PY
)
echo "$found"
expected=$(printf 'geomstats above 1e6\npymanopt 3.14\ngeoopt 0.03\nplanes at 1.50: 3.00\nplanes at 1.57: 0.00')
[ "$found" = "$expected" ]
