import pandas as pd
import pytest
import torch

from latentedit.models.registry import load
from latentedit_bench.experiments.controls import against_control, less_control
from latentedit_bench.experiments.subspaces import RANKS, at_each_rank, fitted_rank, gaps
from latentedit_bench.experiments.untrained import untrained_twin
from latentedit_bench.metrics.statistics import Table, estimate
from tests.bench.experiments.gaussians import beside, gaussian, study_of

pytestmark = pytest.mark.slow


def mean(rows: Table) -> object:
    return estimate(rows["value"].tolist(), rows[["picture"]].to_numpy().tolist())


def test_rows_are_matched_by_their_keys_in_any_order() -> None:
    """Several rows of one key are averaged; what one side lacks is not known."""
    own = pd.DataFrame({"picture": [0, 1, 1, 2], "value": [1.0, 4.0, 6.0, 9.0]})
    control = pd.DataFrame({"picture": [1, 0], "value": [2.0, 0.5]})
    found = less_control(beside(own, control), "value", ("picture",))
    assert found["value"].tolist() == pytest.approx([0.5, 3.0, float("nan")], nan_ok=True)
    first, trained, untrained = against_control(beside(own, control), "value", ("picture",), mean, "said", "what")  # pyright: ignore[reportArgumentType]
    assert [one[2].mean for one in (first, trained, untrained)] == pytest.approx([1.75, 5.0, 1.25])
    assert [one[1] for one in (first, trained, untrained)] == [
        "what, trained less untrained",
        "what, trained",
        "what, untrained",
    ]
    assert first[2].pictures == 2


def test_a_network_of_which_nothing_is_known_leaves_nothing() -> None:
    own = pd.DataFrame({"picture": [0, 1], "value": [1.0, 4.0]})
    assert less_control(own.assign(network="trained"), "value", ("picture",))["value"].isna().all()


def test_the_fitted_rank_is_where_the_spectrum_falls_most() -> None:
    """Two large variances among eight: singular values (1 - s) c / ((1 - s)^2 c + s^2), by which the gaps are known."""
    backbone = gaussian(torch.tensor([4.0, 3.9, 0.3, 0.28, 0.26, 0.25, 0.24]), torch.eye(12)[:7], (12,))
    study = study_of(backbone, 2, levels=(0.5,), rank=7)
    found = gaps([study.basis(picture, 0.5) for picture in range(2)])
    assert tuple(found) == RANKS
    values = torch.tensor([0.5 * c / (0.25 * c + 0.25) for c in (4.0, 3.9, 0.3, 0.28, 0.26)]).log()
    expected = [float(values[rank - 1] - values[rank]) for rank in (1, 2, 4)]
    assert [found[rank] for rank in (1, 2, 4)] == pytest.approx(expected, abs=2e-3)
    assert found[7] != found[7], "the next value is not known"
    rows = pd.DataFrame({"rank": list(found), "gap": list(found.values())})
    assert fitted_rank(beside(rows, rows.assign(gap=[9.0, 0.0, 0.0, 0.0]))) == 2, "of the trained network alone"
    assert fitted_rank(beside(rows[-1:], rows[-1:])) == 7


def test_the_fitted_rank_comes_first_and_others_follow() -> None:
    rows = [
        {"picture": picture, "rank": rank, "gap": gap, "value": float(rank)}
        for picture in range(3)
        for rank, gap in ((1, 0.1), (2, 0.5), (4, 0.2))
    ]
    table = pd.DataFrame(rows)
    found = at_each_rank(beside(table, table.assign(value=0.5)), "value", ("picture",), mean, "said", "what")  # pyright: ignore[reportArgumentType]
    assert [one[2].mean for one in found] == pytest.approx([1.5, 2.0, 0.5, 0.5, 3.5])
    assert [one[1] for one in found] == [
        "what, rank 2 (fitted), trained less untrained",
        "what, rank 2 (fitted), trained",
        "what, rank 2 (fitted), untrained",
        "what, rank 1, trained less untrained",
        "what, rank 4, trained less untrained",
    ]


@pytest.mark.nightly
@pytest.mark.parametrize("name", ["portraits", "portraits-unet", "pixels-discs"])
def test_a_twin_is_the_same_network_with_other_weights(name: str) -> None:
    """The same seed gives the same weights, another one others; texts, codec and schedule are the model's own."""
    model, twin, again, other = (
        load(name, device="cpu"),
        *(untrained_twin(name, seed=seed, device="cpu") for seed in (20, 20, 21)),
    )
    shapes = [{key: value.shape for key, value in weights(one).items()} for one in (model, twin)]
    assert shapes[0] == shapes[1]
    trained, first, same, different = (weights(one) for one in (model, twin, again, other))
    assert all(torch.equal(value, same[key]) for key, value in first.items())
    drawn = [key for key, value in first.items() if value.ndim > 1 and "pos_embed" not in key]
    assert drawn
    assert not any(torch.equal(first[key], trained[key]) or torch.equal(first[key], different[key]) for key in drawn)
    assert twin.grid(28).levels == model.grid(28).levels
    assert (twin.sites, twin.default_site) == (model.sites, model.default_site)
    assert torch.equal(twin.embed(["a person"]).tokens, model.embed(["a person"]).tokens)
    pixels = torch.zeros(1, 3, 64, 64) if name.startswith("pixels") else torch.zeros(1, 3, 128, 128)
    z = model.encode(pixels)
    assert torch.equal(twin.encode(pixels), z)
    s = torch.tensor([0.5])
    assert not torch.allclose(twin.velocity(z, s, twin.embed([""])), model.velocity(z, s, model.embed([""])))
    assert (twin.name, twin.fingerprint != model.fingerprint) == (f"{name}, untrained", True)


def weights(model: object) -> dict[str, torch.Tensor]:
    return model._network.state_dict()  # pyright: ignore[reportAttributeAccessIssue]
