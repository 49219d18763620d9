import pytest
import torch
from torch import Tensor, nn
from training.muon import Muon, orthogonalized

from latentedit.models.placement import half_or_float32

PRECISION = 0.03 if half_or_float32("cpu") == torch.bfloat16 else 1e-4
"""Four steps multiply rounding errors by up to 3.4 each: 130 times that of bfloat16 at worst, a few times as a rule."""


def drawn(shape: tuple[int, int], seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(24, 24), (40, 16), (16, 40)])
def test_singular_vectors_stay_and_values_follow_the_polynomial(shape: tuple[int, int]) -> None:
    matrix = drawn(shape, 0)
    left, values, right = torch.linalg.svd(matrix.double(), full_matrices=False)
    values = values / values.norm()
    for _ in range(4):
        values = 3.4445 * values - 4.775 * values**3 + 2.0315 * values**5
    found = orthogonalized(torch.stack([drawn(shape, 1), matrix]))[1]  # whatever is beside it
    assert (found - left @ torch.diag(values) @ right).norm() <= PRECISION * values.norm()


def test_values_lie_where_the_docstring_says() -> None:
    values = torch.linspace(0.01, 1, 10_001, dtype=torch.float64)
    for _ in range(4):
        values = 3.4445 * values - 4.775 * values**3 + 2.0315 * values**5
    assert values.min() >= 0.68
    assert values.max() <= 1.21


def test_it_steps_as_torch_does() -> None:
    """Torch's iterates in bfloat16 everywhere, eight bits: a hundredth of the way of twelve steps."""
    shapes = [(12, 20), (20, 12), (12, 20)]
    starts = [drawn(shape, index) for index, shape in enumerate(shapes)]
    ours, theirs = ([nn.Parameter(start.clone()) for start in starts] for _ in range(2))
    optimizers = (
        Muon(ours, lr=0.02, weight_decay=0.1),
        torch.optim.Muon(theirs, lr=0.02, weight_decay=0.1, adjust_lr_fn="match_rms_adamw", ns_steps=4),
    )
    for step in range(12):
        for optimizer, matrices in zip(optimizers, (ours, theirs), strict=True):
            for index, (matrix, shape) in enumerate(zip(matrices, shapes, strict=True)):
                matrix.grad = drawn(shape, 20 + index) + drawn(shape, 40 + 3 * step + index)
            optimizer.step()
    for our, their, start in zip(ours, theirs, starts, strict=True):
        assert (our - their).norm() <= 0.02 * (their - start).norm()
        assert (their - start).norm() > 0.5


def test_a_matrix_without_a_gradient_stays() -> None:
    matrix = nn.Parameter(drawn((3, 4), 0))
    before = matrix.detach().clone()
    Muon([matrix], lr=0.1, weight_decay=0.1).step()
    assert torch.equal(matrix, before)
