"""The three modes of Jacobian-vector products against a known Jacobian, and their limits."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from latentedit.core.errors import ConfigError, UnsupportedDerivativeError
from latentedit.numerics.autodiff import Derivative, Mode
from tests.numerics.dense import batch_matvec, random_matrices, random_vectors
from tests.testing.tolerances import relative_error, tolerance

AUTOGRAD: list[Mode] = ["forward", "double_backward"]
MODES: list[Mode] = [*AUTOGRAD, "finite_difference"]
QUANTITY = {"forward": "derivative", "double_backward": "derivative", "finite_difference": "difference"}

MATRICES = random_matrices(3, 6)
POINT = random_vectors(3, 2, 3, seed=1) / 2


class TanhMap:
    """``tanh(A x)`` with one matrix per row; the batch may be repeated."""

    def __init__(self) -> None:
        self.batch_sizes: list[int] = []

    def __call__(self, x: Tensor) -> Tensor:
        self.batch_sizes.append(len(x))
        matrices = MATRICES.to(x.dtype).repeat(len(x) // len(MATRICES), 1, 1)
        return torch.tanh(torch.einsum("bij,bj->bi", matrices, x.flatten(1))).reshape(x.shape)


def jacobian(point: Tensor = POINT) -> Tensor:
    inner = torch.einsum("bij,bj->bi", MATRICES, point.flatten(1))
    return (1 - torch.tanh(inner) ** 2)[:, :, None] * MATRICES


def make_derivative(mode: Mode, dtype: torch.dtype = torch.float64) -> Derivative:
    return Derivative(TanhMap(), POINT.to(dtype), mode=mode)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("mode", MODES)
def test_products_match_the_known_jacobian(mode: Mode, dtype: torch.dtype) -> None:
    u, function = random_vectors(3, 2, 3), TanhMap()
    expected, transposed = batch_matvec(jacobian(), u), batch_matvec(jacobian().mT, u)
    operator = Derivative(function, POINT.to(dtype), mode=mode)
    product = operator.forward(u.to(dtype))
    assert function.batch_sizes == ([6] if mode == "finite_difference" else [3])
    assert relative_error(product, expected) <= tolerance(QUANTITY[mode], dtype)
    assert relative_error(transposed, expected) > 0.1, "the Jacobian is too symmetric to detect a missing transpose"
    assert relative_error(operator.reverse(u.to(dtype)), transposed) <= tolerance("derivative", dtype)


@pytest.mark.parametrize("mode", MODES)
def test_vectors_of_different_lengths_keep_their_precision(mode: Mode) -> None:
    u = random_vectors(3, 2, 3)
    scales = torch.tensor([1e-6, 0.0, 1e6], dtype=torch.float64)[:, None, None]
    product, scaled = make_derivative(mode).forward(u), make_derivative(mode).forward(scales * u)
    assert relative_error(scaled[2], 1e6 * product[2]) <= 1e-12
    assert relative_error(scaled[0], 1e-6 * product[0]) <= 1e-9, "a short vector loses precision next to a long one"
    assert bool((scaled[1] == 0).all())


@pytest.mark.parametrize("mode", MODES)
def test_products_ignore_grad_mode_and_record_no_graph(mode: Mode) -> None:
    point, u = POINT.clone().requires_grad_(), random_vectors(3, 2, 3).requires_grad_()
    operator = Derivative(TanhMap(), point, mode=mode)
    with torch.no_grad():
        without_grad = operator.forward(u)
        transposed = operator.reverse(u)
    with_grad = operator.forward(u)
    assert torch.equal(without_grad, with_grad)
    assert not with_grad.requires_grad
    assert not transposed.requires_grad
    assert point.grad is None


def test_forward_mode_saves_no_tensors() -> None:
    matrix = MATRICES[0].clone().requires_grad_()
    saved: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(saved.append, lambda _: POINT):
        Derivative(lambda x: torch.tanh(x.flatten(1) @ matrix), POINT, mode="forward").forward(POINT)
        assert not saved
        torch.tanh(POINT.flatten(1) @ matrix)
    assert saved, "the hook sees no saved tensors at all"


@pytest.mark.parametrize("mode", AUTOGRAD)
def test_products_are_exact_in_inference_mode(mode: Mode) -> None:
    """PyTorch's dual numbers silently lose their tangents there, and no graph is recorded."""
    with torch.inference_mode():
        operator = Derivative(TanhMap(), POINT.clone(), mode=mode)
        product = operator.forward(random_vectors(3, 2, 3).clone())
        transposed = operator.reverse(random_vectors(3, 2, 3).clone())
    exact = tolerance("derivative", torch.float64)
    assert relative_error(product, batch_matvec(jacobian(), random_vectors(3, 2, 3))) <= exact
    assert relative_error(transposed, batch_matvec(jacobian().mT, random_vectors(3, 2, 3))) <= exact


def test_two_threads_can_compute_forward_products() -> None:
    """PyTorch has one level of dual numbers for all threads: the second waits until the first leaves it."""
    entered, released = threading.Event(), threading.Event()

    def blocking_map(x: Tensor) -> Tensor:
        entered.set()
        assert released.wait(timeout=10)
        return TanhMap()(x)

    def second_thread() -> Tensor:
        assert entered.wait(timeout=10)
        threading.Timer(0.1, released.set).start()
        return make_derivative("forward").forward(u)

    u = random_vectors(3, 2, 3)
    with ThreadPoolExecutor() as pool:
        products = pool.submit(Derivative(blocking_map, POINT, mode="forward").forward, u), pool.submit(second_thread)
    for product in products:
        assert torch.equal(product.result(), make_derivative("forward").forward(u))


@pytest.mark.parametrize("mode", ["forward", "finite_difference"])
def test_constant_functions_have_zero_products(mode: Mode) -> None:
    product = Derivative(torch.ones_like, POINT, mode=mode).forward(random_vectors(3, 2, 3))
    assert torch.equal(product, torch.zeros_like(POINT))


def test_finite_difference_error_is_second_order() -> None:
    u = random_vectors(3, 2, 3)
    expected = batch_matvec(jacobian(), u)
    errors = [
        relative_error(Derivative(TanhMap(), POINT, mode="finite_difference", step=step).forward(u), expected)
        for step in (0.02, 0.01)
    ]
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.05)


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float8_e4m3fn, torch.float32, torch.float64])
def test_the_default_step_depends_on_the_precision(precision: torch.dtype) -> None:
    rms = {torch.float32: 2.2e-4, torch.float64: 1e-5}.get(precision, 0.1)
    u = random_vectors(3, 2, 3)
    default = Derivative(TanhMap(), POINT, mode="finite_difference", precision=precision)
    explicit = Derivative(TanhMap(), POINT, mode="finite_difference", step=rms * 6**0.5)
    assert torch.equal(default.forward(u), explicit.forward(u))


@pytest.mark.parametrize("mode", MODES)
def test_nan_does_not_spread_to_other_elements(mode: Mode) -> None:
    point = POINT.clone()
    point[0] = torch.nan
    product = Derivative(TanhMap(), point, mode=mode).forward(random_vectors(3, 2, 3))
    assert bool(product[0].isnan().all())
    assert torch.equal(product[1:], make_derivative(mode).forward(random_vectors(3, 2, 3))[1:])


def fused_attention(x: Tensor) -> Tensor:
    """Attention by the fused kernel, which supports only first-order reverse mode."""
    return functional.scaled_dot_product_attention(x, 2 * x, x.sin())


@pytest.mark.parametrize("mode", AUTOGRAD)
def test_fused_attention_needs_finite_differences(mode: Mode) -> None:
    x = random_vectors(2, 1, 4, 8).float()
    operator = Derivative(fused_attention, x, mode=mode, name="some model")
    with pytest.raises(UnsupportedDerivativeError):
        operator.forward(x)
    differences = Derivative(fused_attention, x, mode="finite_difference").forward(x)
    # <x, J x> = <J^T x, x>
    assert float((x * differences).sum()) == pytest.approx(float((x * operator.reverse(x)).sum()), rel=5e-3)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("error", [torch.cuda.OutOfMemoryError, RuntimeError])
def test_errors_of_the_function_propagate(mode: Mode, error: type[Exception]) -> None:
    def broken(x: Tensor) -> Tensor:
        raise error("out of memory")

    with pytest.raises(error):
        Derivative(broken, POINT, mode=mode).forward(POINT)


def test_double_backward_rejects_detached_functions() -> None:
    operator = Derivative(lambda x: x.detach().sin(), POINT, mode="double_backward")
    for product in (operator.forward, operator.reverse):
        with pytest.raises(UnsupportedDerivativeError):
            product(POINT)


def test_invalid_steps_are_rejected() -> None:
    for step in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ConfigError):
            Derivative(TanhMap(), POINT, mode="finite_difference", step=step)


@pytest.mark.parametrize("mode", MODES)
def test_outputs_may_have_another_shape_than_inputs(mode: Mode) -> None:
    """``sin(A x)`` from 6 numbers to 4 by 1, forward and transposed."""
    matrices = MATRICES[:, :4]
    operator = Derivative(
        lambda x: torch.sin(torch.einsum("bij,bj->bi", matrices.repeat(len(x) // 3, 1, 1), x.flatten(1)))[:, :, None],
        POINT,
        mode=mode,
    )
    true_jacobian = torch.cos(torch.einsum("bij,bj->bi", matrices, POINT.flatten(1)))[:, :, None] * matrices
    u, w = random_vectors(3, 2, 3, seed=2), random_vectors(3, 4, 1, seed=3)
    expected = torch.einsum("bij,bj->bi", true_jacobian, u.flatten(1))[:, :, None]
    assert relative_error(operator.forward(u), expected) <= tolerance(QUANTITY[mode], torch.float64)
    transposed = torch.einsum("bij,bi->bj", true_jacobian, w.flatten(1)).reshape(u.shape)
    assert relative_error(operator.reverse(w), transposed) <= tolerance("derivative", torch.float64)
