#!/bin/sh
# A rotation that is made from Euler angles or a matrix passes half of its gradient on, without a message.
#
# Asked: a point is rotated by pypose: the gradient of its first coordinate by three numbers that make the rotation, as
# Euler angles (euler2SO3), as a rotation matrix of them (mat2SO3), or as a rotation vector (so3.Exp), against finite differences.
# Expected: equal in all three; each is differentiable, and the result requires a gradient.
# Seen (pypose 0.9.5, torch 2.13.0): equal for so3.Exp. For the others it has half the length near the identity, and another direction
# away from it. A rotation of pypose hands back its gradient as a rotation vector, in the place of its quaternion's four numbers;
# euler2SO3 and mat2SO3 take it for the derivative by the quaternion, which moves by half of the angle.
# Hurt: those who learn a pose by Euler angles or by a network that outputs matrices: a wrong step length where they begin, and wrong
# weights between angles later; values and convergence at the optimum do not show it.
# That gradients of rotations are rotation vectors is documented (pypose's issues 257 and 335). Guess 4.25. Fails if that changes.
# One run from a bare environment: 22 s of processor time, 289 MB.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
# PyTorch's own index has the build without CUDA; the one of PyPI takes gigabytes.
"$folder/venv/bin/python" -m pip install --quiet --no-compile --no-deps --extra-index-url https://download.pytorch.org/whl/cpu torch==2.13.0
"$folder/venv/bin/python" -m pip install --quiet --no-compile torch==2.13.0 numpy packaging
"$folder/venv/bin/python" -m pip install --quiet --no-compile --no-deps pypose==0.9.5
found=$("$folder/venv/bin/python" -W ignore - <<'PY'
import pypose
import torch

torch.set_default_dtype(torch.float64)
turns = torch.zeros(3, 3, 3)
for axis in range(3):
    turns[axis, (axis + 2) % 3, (axis + 1) % 3], turns[axis, (axis + 1) % 3, (axis + 2) % 3] = 1.0, -1.0
makers = {
    "so3.Exp": lambda numbers: pypose.so3(numbers).Exp(),
    "mat2SO3": lambda numbers: pypose.mat2SO3(torch.matrix_exp((numbers[:, None, None] * turns).sum(0))),
    "euler2SO3": pypose.euler2SO3,
}
point, step = torch.tensor([1.0, 2.0, 3.0]), 1e-6
for numbers in (torch.zeros(3), torch.tensor([0.5, -0.7, 0.9])):
    for name, maker in makers.items():
        coordinate = lambda numbers: (maker(numbers) @ point)[0]  # noqa: E731
        shifts = step * torch.eye(3)
        true = torch.stack([coordinate(numbers + one) - coordinate(numbers - one) for one in shifts]) / (2 * step)
        (gradient,) = torch.autograd.grad(coordinate(one := numbers.clone().requires_grad_()), one)
        cosine = torch.cosine_similarity(gradient, true, dim=0).clamp(-1, 1)
        length, angle = float(gradient.norm() / true.norm()), float(cosine.acos().rad2deg())
        print(f"{name} at {numbers.tolist()}: {length:.2f} of the length, {angle:.0f} degrees off")
PY
)
echo "$found"
expected='so3.Exp at [0.0, 0.0, 0.0]: 1.00 of the length, 0 degrees off
mat2SO3 at [0.0, 0.0, 0.0]: 0.50 of the length, 0 degrees off
euler2SO3 at [0.0, 0.0, 0.0]: 0.50 of the length, 0 degrees off
so3.Exp at [0.5, -0.7, 0.9]: 1.00 of the length, 0 degrees off
mat2SO3 at [0.5, -0.7, 0.9]: 0.48 of the length, 32 degrees off
euler2SO3 at [0.5, -0.7, 0.9]: 0.55 of the length, 23 degrees off'
[ "$found" = "$expected" ]
