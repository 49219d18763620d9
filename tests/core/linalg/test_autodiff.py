"""The three ways to a Jacobian-vector product against a map whose Jacobian is known, and what they cannot do."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from latentedit.core.errors import ConfigError, UnsupportedDerivativeError
from latentedit.core.linalg.autodiff import Derivative, Mode
from latentedit.testing.tolerances import relative_error, tolerance
from tests.core.linalg.dense import random_matrices, vectors

AUTOGRAD: list[Mode] = ["forward", "double_backward"]
MODES: list[Mode] = [*AUTOGRAD, "finite_difference"]
QUANTITY = {"forward": "derivative", "double_backward": "derivative", "finite_difference": "difference"}

MATRICES = random_matrices(3, 6)
POINT = vectors(3, 2, 3, seed=1) / 2


class Map:
    """``tanh(A x)`` with a matrix a row, on as many copies of the batch as it is given."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    def __call__(self, x: Tensor) -> Tensor:
        self.calls.append(len(x))
        matrices = MATRICES.to(x.dtype).repeat(len(x) // len(MATRICES), 1, 1)
        return torch.tanh(torch.einsum("bij,bj->bi", matrices, x.flatten(1))).reshape(x.shape)


def jacobian(point: Tensor = POINT) -> Tensor:
    inner = torch.einsum("bij,bj->bi", MATRICES, point.flatten(1))
    return (1 - torch.tanh(inner) ** 2)[:, :, None] * MATRICES


def apply(matrices: Tensor, u: Tensor) -> Tensor:
    return torch.einsum("bij,bj->bi", matrices, u.flatten(1)).reshape(u.shape)


def build(mode: Mode, dtype: torch.dtype = torch.float64) -> Derivative:
    return Derivative(Map(), POINT.to(dtype), mode=mode)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("mode", MODES)
def test_products_are_those_of_the_known_jacobian(mode: Mode, dtype: torch.dtype) -> None:
    u, function = vectors(3, 2, 3), Map()
    expected, transposed = apply(jacobian(), u), apply(jacobian().mT, u)
    operator = Derivative(function, POINT.to(dtype), mode=mode)
    product = operator.forward(u.to(dtype))
    assert function.calls == ([6] if mode == "finite_difference" else [3])
    assert relative_error(product, expected) <= tolerance(QUANTITY[mode], dtype)
    assert relative_error(transposed, expected) > 0.1, "the map is symmetric, so a mix-up would not show"
    assert relative_error(operator.reverse(u.to(dtype)), transposed) <= tolerance("derivative", dtype)


@pytest.mark.parametrize("mode", MODES)
def test_each_element_is_scaled_by_its_own_length(mode: Mode) -> None:
    u = vectors(3, 2, 3)
    scales = torch.tensor([1e-6, 0.0, 1e6], dtype=torch.float64)[:, None, None]
    product, scaled = build(mode).forward(u), build(mode).forward(scales * u)
    assert relative_error(scaled[2], 1e6 * product[2]) <= 1e-12
    assert relative_error(scaled[0], 1e-6 * product[0]) <= 1e-9, "a short element suffers from a long one"
    assert bool((scaled[1] == 0).all())


@pytest.mark.parametrize("mode", MODES)
def test_the_callers_gradient_mode_does_not_matter_and_nothing_is_recorded(mode: Mode) -> None:
    point, u = POINT.clone().requires_grad_(), vectors(3, 2, 3).requires_grad_()
    operator = Derivative(Map(), point, mode=mode)
    with torch.no_grad():
        quiet = operator.forward(u)
        transposed = operator.reverse(u)
    recorded = operator.forward(u)
    assert torch.equal(quiet, recorded)
    assert not recorded.requires_grad
    assert not transposed.requires_grad
    assert point.grad is None


def test_forward_products_keep_nothing_for_a_reverse_pass() -> None:
    matrix = MATRICES[0].clone().requires_grad_()
    kept: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(kept.append, lambda _: POINT):
        Derivative(lambda x: torch.tanh(x.flatten(1) @ matrix), POINT, mode="forward").forward(POINT)
        assert not kept
        torch.tanh(POINT.flatten(1) @ matrix)
    assert kept, "the check itself sees nothing"


@pytest.mark.parametrize("mode", AUTOGRAD)
def test_products_in_inference_mode(mode: Mode) -> None:
    """Dual numbers lose their tangents there without a word, and no graph is recorded, unless care is taken."""
    with torch.inference_mode():
        operator = Derivative(Map(), POINT.clone(), mode=mode)
        product = operator.forward(vectors(3, 2, 3).clone())
        transposed = operator.reverse(vectors(3, 2, 3).clone())
    exact = tolerance("derivative", torch.float64)
    assert relative_error(product, apply(jacobian(), vectors(3, 2, 3))) <= exact
    assert relative_error(transposed, apply(jacobian().mT, vectors(3, 2, 3))) <= exact


@pytest.mark.slow
def test_forward_products_of_two_threads_at_once() -> None:
    """PyTorch has one level of dual numbers for all threads: the second waits until the first has left it."""
    inside, requested = threading.Event(), threading.Event()

    def slow(x: Tensor) -> Tensor:
        inside.set()
        requested.wait(timeout=10)
        return Map()(x)

    def second() -> Tensor:
        inside.wait(timeout=10)
        threading.Timer(0.1, requested.set).start()
        return build("forward").forward(u)

    u = vectors(3, 2, 3)
    with ThreadPoolExecutor() as threads:
        products = threads.submit(Derivative(slow, POINT, mode="forward").forward, u), threads.submit(second)
    for product in products:
        assert torch.equal(product.result(), build("forward").forward(u))


@pytest.mark.parametrize("mode", ["forward", "finite_difference"])
def test_a_result_that_does_not_depend_on_the_point_has_the_product_zero(mode: Mode) -> None:
    product = Derivative(torch.ones_like, POINT, mode=mode).forward(vectors(3, 2, 3))
    assert torch.equal(product, torch.zeros_like(POINT))


def test_the_error_of_differences_falls_with_the_square_of_the_step() -> None:
    u = vectors(3, 2, 3)
    expected = apply(jacobian(), u)
    errors = [
        relative_error(Derivative(Map(), POINT, mode="finite_difference", step=step).forward(u), expected)
        for step in (0.02, 0.01)
    ]
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.05)


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float8_e4m3fn, torch.float32, torch.float64])
def test_the_step_goes_by_the_precision_of_the_function(precision: torch.dtype) -> None:
    rms = {torch.float32: 2.2e-4, torch.float64: 1e-5}.get(precision, 0.1)
    u = vectors(3, 2, 3)
    default = Derivative(Map(), POINT, mode="finite_difference", precision=precision)
    requested = Derivative(Map(), POINT, mode="finite_difference", step=rms * 6**0.5)
    assert torch.equal(default.forward(u), requested.forward(u))


@pytest.mark.parametrize("mode", MODES)
def test_what_is_not_a_number_stays_in_its_element(mode: Mode) -> None:
    point = POINT.clone()
    point[0] = torch.nan
    product = Derivative(Map(), point, mode=mode).forward(vectors(3, 2, 3))
    assert bool(product[0].isnan().all())
    assert torch.equal(product[1:], build(mode).forward(vectors(3, 2, 3))[1:])


def attend(x: Tensor) -> Tensor:
    """Attention by the fused kernel, which has reverse mode only."""
    return functional.scaled_dot_product_attention(x, 2 * x, x.sin())


@pytest.mark.parametrize("mode", AUTOGRAD)
def test_an_operation_without_the_derivative_is_named(mode: Mode) -> None:
    x = vectors(2, 1, 4, 8).float()
    operator = Derivative(attend, x, mode=mode, name="some model")
    with pytest.raises(UnsupportedDerivativeError):
        operator.forward(x)
    differences = Derivative(attend, x, mode="finite_difference").forward(x)
    # <x, J x> = <J^T x, x>
    assert float((x * differences).sum()) == pytest.approx(float((x * operator.reverse(x)).sum()), rel=5e-3)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("error", [torch.cuda.OutOfMemoryError, RuntimeError])
def test_errors_of_the_function_itself_pass(mode: Mode, error: type[Exception]) -> None:
    def broken(x: Tensor) -> Tensor:
        raise error("out of memory")

    with pytest.raises(error):
        Derivative(broken, POINT, mode=mode).forward(POINT)


def test_a_function_that_records_nothing_is_refused_in_reverse() -> None:
    operator = Derivative(lambda x: x.detach().sin(), POINT, mode="double_backward")
    for product in (operator.forward, operator.reverse):
        with pytest.raises(UnsupportedDerivativeError):
            product(POINT)


def test_what_makes_no_sense_is_refused() -> None:
    for step in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ConfigError):
            Derivative(Map(), POINT, mode="finite_difference", step=step)


@pytest.mark.parametrize("mode", MODES)
def test_results_may_have_another_shape_than_the_point(mode: Mode) -> None:
    """``sin(A x)`` from 6 numbers to 4 by 1, in both directions."""
    matrices = MATRICES[:, :4]
    rows = Derivative(
        lambda x: torch.sin(torch.einsum("bij,bj->bi", matrices.repeat(len(x) // 3, 1, 1), x.flatten(1)))[:, :, None],
        POINT,
        mode=mode,
    )
    truth = torch.cos(torch.einsum("bij,bj->bi", matrices, POINT.flatten(1)))[:, :, None] * matrices
    u, w = vectors(3, 2, 3, seed=2), vectors(3, 4, 1, seed=3)
    expected = torch.einsum("bij,bj->bi", truth, u.flatten(1))[:, :, None]
    assert relative_error(rows.forward(u), expected) <= tolerance(QUANTITY[mode], torch.float64)
    back = torch.einsum("bij,bi->bj", truth, w.flatten(1)).reshape(u.shape)
    assert relative_error(rows.reverse(w), back) <= tolerance("derivative", torch.float64)
