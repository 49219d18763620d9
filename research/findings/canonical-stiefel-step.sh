#!/bin/sh
# A step on the Stiefel manifold with geoopt's canonical metric does not go where its tangent points.
#
# Asked: for orthonormal columns x and a tangent u: does CanonicalStiefel.proju leave u as it is, and does retr(x, t u)
# begin as x + t u, which makes it a retraction?
# Expected: yes, as EuclideanStiefel's; and expmap to be nearer to the geodesic than a retraction is.
# Seen (geoopt 0.5.1, torch 2.13.0): no. Both add x x^T u: the part of u that turns the columns among each other counts
# twice with every projection and with every step, so the error of a step is of first order, and projecting four times
# makes a tangent several times as long. expmap is the same function as retr.
# Hurt: those who trust step lengths, lengths of momentum, or a line search on orthonormal matrices.
# Guess 4.7. Fails if that changes.
# One run from a bare environment: 22 s of processor time, 288 MB.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
# PyTorch's own index has the build without CUDA; the one of PyPI takes gigabytes.
"$folder/venv/bin/python" -m pip install --quiet --no-compile --no-deps --extra-index-url https://download.pytorch.org/whl/cpu torch==2.13.0
"$folder/venv/bin/python" -m pip install --quiet --no-compile torch==2.13.0 numpy geoopt==0.5.1
found=$("$folder/venv/bin/python" - <<'PY'
import geoopt
import torch

generator = torch.Generator().manual_seed(0)
x, _ = torch.linalg.qr(torch.randn(6, 3, generator=generator, dtype=torch.float64))
turn = torch.randn(3, 3, generator=generator, dtype=torch.float64)
inside = x @ (turn - turn.T)  # a tangent that turns the columns among each other
outside = torch.randn(6, 3, generator=generator, dtype=torch.float64)
outside = outside - x @ (x.T @ outside)  # and one that moves their span
for name in ("EuclideanStiefel", "CanonicalStiefel"):
    manifold = getattr(geoopt, name)()
    for tangent in (inside, outside):
        assert manifold.check_vector_on_tangent(x, tangent)
        projected = manifold.proju(x, tangent)
        moved = (manifold.retr(x, 1e-6 * tangent) - x) / 1e-6
        print(name, *(f"{float((one * tangent).sum() / tangent.square().sum()):.3f}" for one in (projected, moved)))
PY
)
echo "$found"
expected=$(printf 'EuclideanStiefel 1.000 1.000\nEuclideanStiefel 1.000 1.000\nCanonicalStiefel 2.000 2.000\nCanonicalStiefel 1.000 1.000')
[ "$found" = "$expected" ]
