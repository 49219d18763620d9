import inspect
import math

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy
from torch import Tensor

from latentedit.core.errors import ConfigError, ShapeError
from latentedit_bench.metrics.leakage_matrix import (
    _check_readings,
    _check_square,
    attribute_change,
    attribute_scores,
    corrected,
    leakage_matrix,
)
from tests.bench.metrics.constructed import noise

entries = st.integers(-20, 20).map(lambda value: value / 10)
matrices = st.integers(2, 5).flatmap(
    lambda k: st.lists(st.lists(entries, min_size=k, max_size=k), min_size=k, max_size=k).map(
        lambda rows: torch.tensor(rows, dtype=torch.float64)
    )
)


def dci(matrix: Tensor) -> list[Tensor]:
    found = attribute_scores(matrix)
    return [found["DCI disentanglement"], found["DCI completeness"]]


def leak_of(matrix: Tensor) -> Tensor:
    """By its definition; decomposability is the only score that is made of it."""
    columns = range(len(matrix))
    beside = [torch.cat([matrix[:k, k], matrix[k + 1 :, k]]).norm() / matrix[k, k].abs() for k in columns]
    return torch.stack(beside).double()


def reading(seed: int) -> dict[str, Tensor]:
    return {
        name: noise(5, values, seed=seed + index).softmax(1)
        for index, (name, values) in enumerate([("hair", 4), ("mouth", 2), ("hat", 3)])
    }


def test_total_variation_is_the_largest_difference_of_probability_of_any_event() -> None:
    before, after = reading(0), reading(50)
    found = attribute_change(before, after)
    for column, name in enumerate(before):
        for row in range(5):
            rises = (after[name] - before[name])[row]
            assert found[row, column].item() == pytest.approx(rises[rises > 0].sum().item(), rel=1e-12)
            # Pinsker-like bounds with another distance: JS <= TV <= sqrt(2 JS), JS in nats and divided by log 2 below
            js = jensenshannon(before[name][row], after[name][row], base=2) ** 2
            assert js <= found[row, column].item() <= math.sqrt(2 * math.log(2) * js) + 1e-12
    assert torch.equal(attribute_change(before, dict(reversed(after.items()))), found), "the order of the first reading"
    sure, other = {"hat": torch.tensor([[1.0, 0.0]])}, {"hat": torch.tensor([[0.0, 1.0]])}
    assert (attribute_change(sure, sure).item(), attribute_change(sure, other).item()) == (0, 1)


def test_readings_that_do_not_belong_together_are_refused() -> None:
    before = reading(0)
    for after in (
        {"hair": before["hair"]},
        {**before, "hat": before["hat"][:4]},
        {**before, "hat": before["mouth"]},
        dict(zip(["hair", "mouth", "scarf"], before.values(), strict=True)),
    ):
        with pytest.raises(ShapeError, match="other attributes or pictures"):
            attribute_change(before, after)
    with pytest.raises(ShapeError, match="other attributes or pictures"):
        _check_readings({}, {})


def test_the_matrix_is_a_ratio_of_means() -> None:
    changes, truth = noise(40, 3).abs(), noise(40, 3, seed=1).abs()
    asked = torch.arange(40) % 3
    found = leakage_matrix(changes, truth, asked)
    for k in range(3):
        for j in range(3):
            expected = changes[asked == k, j].mean() / truth[asked == k, k].mean()
            assert found[j, k].item() == pytest.approx(expected.item(), rel=1e-12)


def test_an_attribute_nobody_asked_for_has_no_column() -> None:
    changes = torch.ones(4, 3)
    found = leakage_matrix(changes, changes, torch.tensor([0, 0, 2, 2]))
    assert found.isnan().tolist() == [[False, True, False]] * 3
    with pytest.raises(ConfigError, match="no item asks for one"):
        corrected(found, found)
    # nor has one that its answers do not change, whatever the edit did
    still = changes.clone()
    still[:2] = 0
    assert leakage_matrix(changes, still, torch.tensor([0, 0, 1, 2])).isnan().tolist() == [[True, False, False]] * 3


def test_the_readers_own_leakage_is_taken_out() -> None:
    """A linear reader sees ``A`` times what is there; an editor does ``E`` times what was asked for: E remains."""
    asked = torch.arange(60) % 3
    pure = torch.nn.functional.one_hot(asked, 3).double() * (1 + noise(60).abs())[:, None]
    mixing = torch.eye(3, dtype=torch.float64) + 0.1 * noise(3, 3, seed=7).abs()
    editor = torch.tensor([[0.9, 0.1, 0.0], [0.0, 0.5, 0.3], [-0.2, 0.0, 1.1]], dtype=torch.float64)
    truth, edited = pure @ mixing.T, pure @ editor.T @ mixing.T
    measured, reader = leakage_matrix(edited, truth, asked), leakage_matrix(truth, truth, asked)
    # each column of both is in units of the reader's own diagonal: mixing divided by its diagonal
    torch.testing.assert_close(reader, mixing / mixing.diagonal(), rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(measured, mixing @ editor / mixing.diagonal(), rtol=1e-12, atol=1e-14)
    assert (corrected(reader, reader) - torch.eye(3)).abs().max() < 1e-14
    # what is left is the editor as the reader's axes show it
    expected = mixing @ editor @ torch.linalg.inv(mixing)
    torch.testing.assert_close(corrected(measured, reader), expected, rtol=1e-11, atol=1e-13)


def test_a_reader_that_cannot_tell_attributes_apart_is_refused() -> None:
    same = torch.ones(2, 2, dtype=torch.float64)
    for reader in (same, same + 1e-8 * torch.eye(2)):
        with pytest.raises(ConfigError, match="cannot tell attributes apart"):
            corrected(torch.eye(2, dtype=torch.float64), reader)


def test_the_identity_is_perfect_and_an_even_matrix_the_worst() -> None:
    perfect, even = torch.eye(4, dtype=torch.float64), torch.full((4, 4), 0.3, dtype=torch.float64)
    found = attribute_scores(perfect)
    assert {name: values.tolist() for name, values in found.items()} == dict.fromkeys(found, [1] * 4)
    worst = {**dict.fromkeys(found, 0), "effectiveness": 0.3, "decomposability": 0.5}
    for name, values in attribute_scores(even).items():
        assert values.tolist() == pytest.approx([worst[name]] * 4, abs=1e-15, rel=1e-14)


def test_columns_are_what_was_asked_for() -> None:
    matrix = torch.tensor([[1.0, 0.0], [0.5, 1.0]])  # asking for 0 changes 1 too
    found = attribute_scores(matrix)
    assert found["decomposability"].tolist() == pytest.approx([1 / math.sqrt(1.25), 1], rel=1e-14)
    assert found["gap"].tolist() == [0.5, 1]
    disentanglement, completeness = dci(matrix)
    assert disentanglement[0] < 1 == disentanglement[1]
    assert completeness[1] < 1 == completeness[0]


def test_where_the_attribute_itself_did_not_change() -> None:
    matrix = torch.tensor([[0.0, 0.0], [0.5, 0.0]])
    found = attribute_scores(matrix)
    assert found["decomposability"][0] == 0
    assert found["gap"][0] == -math.inf
    assert found["DCI disentanglement"][0] == 1  # one attribute, though the wrong one
    for name in ("decomposability", "gap", "DCI disentanglement"):
        assert found[name][1].isnan()


@given(matrices)
def test_the_gap_lies_between_two_bounds_by_the_leak(matrix: Tensor) -> None:
    """The largest of K - 1 numbers is at most their length, and at least their length by sqrt(K - 1)."""
    assume(bool((matrix.diagonal() != 0).all()))
    leak, gap = leak_of(matrix), attribute_scores(matrix)["gap"]
    expected = (1 + leak.square()).rsqrt()
    torch.testing.assert_close(attribute_scores(matrix)["decomposability"], expected, rtol=1e-12, atol=0)
    assert (1 - leak <= gap + 1e-12 * (1 + leak)).all()
    assert (gap <= 1 - leak / math.sqrt(len(matrix) - 1) + 1e-12 * (1 + leak)).all()


@given(matrices)
def test_the_measures_are_one_exactly_where_nothing_else_changed(matrix: Tensor) -> None:
    assume(bool((matrix.diagonal() != 0).all()))
    alone = ~(matrix - torch.diag(matrix.diagonal())).any(0)
    for name in ("decomposability", "gap", "DCI disentanglement"):
        assert torch.equal(attribute_scores(matrix)[name] > 1 - 1e-9, alone)  # the least off-diagonal is 1 in 20


@pytest.mark.slow
@given(matrices)
def test_dci_is_scipys_entropy(matrix: Tensor) -> None:
    assume(bool(matrix.any(0).all() and matrix.any(1).all()))
    sizes = matrix.abs().numpy()
    for axis, found in enumerate(dci(matrix)):
        theirs = 1 - entropy(sizes, base=len(matrix), axis=axis)
        assert found.tolist() == pytest.approx(theirs.tolist(), abs=1e-12)
        assert ((found >= -1e-12) & (found <= 1 + 1e-12)).all()


@given(matrices, st.sampled_from([0.25, 2.0, 8.0]))
def test_strength_changes_the_diagonal_alone(matrix: Tensor, factor: float) -> None:
    """Powers of two, so that nothing rounds differently."""
    assume(bool((matrix.diagonal() != 0).all()))
    one, other = attribute_scores(matrix), attribute_scores(factor * matrix)
    assert torch.equal(other.pop("effectiveness"), factor * one.pop("effectiveness"))
    for name, values in other.items():
        torch.testing.assert_close(values, one[name], rtol=1e-12, atol=1e-14)


def test_items_and_matrices_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"\[1, 3\] are asked for. Give numbers from 0 to 2"):
        leakage_matrix(torch.ones(2, 3), torch.ones(2, 3), torch.tensor([1, 3]))
    with pytest.raises(ShapeError, match="K at least 2"):
        leakage_matrix(torch.ones(2, 1), torch.ones(2, 1), torch.tensor([0, 0]))
    for shapes in [((4, 3), (4, 2), (4,)), ((4, 3), (4, 3), (3,)), ((3,), (3,), (3,))]:
        changes, truth, asked = (torch.zeros(shape) for shape in shapes)
        with pytest.raises(ShapeError, match="do not fit"):
            inspect.unwrap(leakage_matrix)(changes, truth, asked.long())  # without the shapes that tests check
    with pytest.raises(ShapeError, match="two of one size"):
        inspect.unwrap(corrected)(torch.eye(2), torch.eye(3))
    for matrix in (torch.ones(2, 3), torch.ones(1, 1)):
        with pytest.raises(ShapeError, match=r"Give \[K, K\]"):
            _check_square(matrix)
