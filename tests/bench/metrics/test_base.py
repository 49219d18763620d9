"""The accumulating base, through metrics that use it: what torchmetrics promises holds."""

import math
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from jaxtyping import Float
from torch import Tensor
from torchmetrics import MetricCollection

from latentedit_bench.metrics.base import PerPicture, geometric_mean
from latentedit_bench.metrics.disentanglement import Disentanglement, Effect, Effectiveness
from latentedit_bench.metrics.undo import UndoPSNR


class Plain(PerPicture):
    """The numbers it is given."""

    def update(self, values: Float[Tensor, " b"]) -> None:
        self._add(values)


class Geometric(PerPicture):
    aggregate = staticmethod(geometric_mean)

    def update(self, values: Float[Tensor, " b"]) -> None:
        self._add(values)


def numbers(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_the_mean_is_over_pictures_not_over_updates() -> None:
    metric = Plain()
    metric.update(numbers(1.0))
    metric.update(numbers(2.0, 6.0, 7.0))
    assert metric.compute().item() == 4.0  # the mean of the updates' means would be 3
    assert metric.values.tolist() == [1, 2, 6, 7]


def test_undefined_pictures_are_left_out_and_counted() -> None:
    metric = Plain()
    metric.update(numbers(math.nan, 2.0))
    metric.update(numbers(4.0, math.nan))
    assert (metric.compute().item(), metric.undefined) == (3.0, 2)
    metric.reset()
    metric.update(numbers(math.nan))
    assert metric.compute().isnan()


@pytest.mark.filterwarnings("ignore:The ``compute`` method:UserWarning")
def test_nothing_gives_nan_and_reset_gives_nothing() -> None:
    metric = Plain()
    assert metric.compute().isnan()
    metric.update(numbers(3.0))
    metric.reset()
    assert metric.values.shape == (0,)
    assert metric.compute().isnan()


def test_forward_tells_of_its_batch_and_adds_it() -> None:
    metric = Plain()
    assert metric(numbers(1.0, 3.0)).item() == 2
    assert metric(numbers(10.0)).item() == 10
    assert metric.compute().item() == pytest.approx(14 / 3, rel=1e-15)
    assert metric.values.tolist() == [1, 3, 10]


def test_numbers_are_kept_in_double_precision() -> None:
    metric = Plain().float().half()  # of a model that holds the metric: torchmetrics ignores both
    metric.update(torch.tensor([0.1]))
    assert metric.values.dtype == metric.compute().dtype == torch.float64
    assert metric.values.item() == torch.tensor(0.1).double().item()


def test_numbers_carry_no_graph() -> None:
    metric = Plain()
    metric(torch.ones(2, requires_grad=True))
    assert not metric.values.requires_grad


def test_pickled_and_cloned_it_goes_on() -> None:
    metric = Effectiveness()
    pictures = torch.zeros(1, 3, 2, 2), torch.ones(1, 3, 2, 2)
    metric.update(pictures[1], *pictures)
    for copy in (pickle.loads(pickle.dumps(metric)), metric.clone()):
        copy.update(*pictures[:1], *pictures)
        assert copy.values.tolist() == [1, 0]
        assert copy.compute().item() == 0.5
    assert metric.values.tolist() == [1]


def test_merged_metrics_hold_both_parts() -> None:
    first, second = Plain(), Plain()
    first.update(numbers(1.0, 2.0))
    second.update(numbers(6.0))
    first.merge_state(second)
    assert first.compute().item() == 3
    assert first.values.tolist() == [6, 1, 2]  # what is brought in stands first


def test_two_processes_tell_the_mean_of_all_pictures() -> None:
    """The other process has one picture; what torch.distributed would gather is handed over by a function."""
    other = numbers(7.0)

    def gathered(mine: Tensor, group: Any = None) -> list[Tensor]:
        return [mine, other]

    metric = Plain(dist_sync_fn=gathered, distributed_available_fn=lambda: True)
    metric.update(numbers(1.0))
    metric.update(numbers(1.0))
    assert metric.compute().item() == 3
    assert metric.values.tolist() == [1, 1]  # its own again, after the mean


def test_a_geometric_mean_lets_twice_and_half_cancel() -> None:
    metric = Geometric()
    metric.update(numbers(2.0, 0.5, math.nan, 1.0))
    assert metric.compute().item() == pytest.approx(1, rel=1e-15)


def test_settings_of_torchmetrics_are_passed_on_and_others_refused() -> None:
    assert not Plain(sync_on_compute=False).sync_on_compute
    with pytest.raises(ValueError, match="unknown"):
        Plain(unknown=1)


def test_a_collection_does_not_take_metrics_that_agree_at_first_for_one() -> None:
    """No edit scores 0 in all three; torchmetrics would then update the first alone, and copy it."""
    source, truth = torch.zeros(1, 3, 2, 2), torch.ones(1, 3, 2, 2)
    together = MetricCollection([Effect(), Effectiveness(), Disentanglement()])
    together.update(source, source, truth)
    assert {value.item() for value in together.compute().values()} == {0.0}
    together.update(2 * truth, source, truth)  # effect 2, and as far from the answer as the source
    assert {name: value.item() for name, value in together.compute().items()} == {
        "Effect": 1.0,
        "Effectiveness": 0.0,
        "Disentanglement": 0.0,
    }


def test_a_collection_hands_each_metric_what_it_asks_for() -> None:
    source, truth = torch.zeros(1, 3, 2, 2), torch.ones(1, 3, 2, 2)
    together = MetricCollection([Effect(), UndoPSNR()])
    together.update(edited=truth, source=source, truth=truth, returned=source + 0.2)
    found = {name: value.item() for name, value in together.compute().items()}
    assert found["Effect"] == 1
    assert found["UndoPSNR"] == pytest.approx(20, rel=1e-6)  # 0.2 of 2 in single precision


MOVES: list[Callable[[Plain], Plain]] = [lambda metric: metric.to("cuda"), lambda metric: metric.cuda()]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a second device")
@pytest.mark.parametrize("move", MOVES)
def test_it_moves_to_a_device_with_its_numbers(move: Callable[[Plain], Plain]) -> None:
    metric = Plain()
    metric.update(numbers(1.0))
    metric = move(metric)
    metric.update(numbers(3.0))
    metric.update(numbers(5.0).cuda())
    assert metric.values.device.type == "cuda"
    assert metric.compute().item() == 3
    assert metric.cpu().values.device.type == "cpu"


def test_its_device_is_that_of_its_numbers() -> None:
    metric = Plain().to("meta")
    metric.update(numbers(1.0))
    assert getattr(metric, metric._state)[0].device.type == "meta"
