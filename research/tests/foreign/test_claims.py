"""The decisions of the claims on foreign networks, and their measurements on two small networks with random weights."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from latentedit import HSDS
from latentedit.editors import EIM, FlowEdit
from latentedit.geometry import geodesic_distance
from latentedit_bench.metrics.statistics import Estimate
from research.foreign import claims, measures
from research.foreign.claims import (
    CLAIMS,
    altogether,
    column,
    decided,
    decision,
    described,
    finished,
    growth,
    main,
    measured,
    units,
)
from research.foreign.galaxies import ScoreNetwork
from research.foreign.measures import bases, galaxies
from research.tests.foreign.test_galaxies import network

NAMES = ("hsc-32", "ztf-32")


def interval(low: float, high: float) -> Estimate:
    return Estimate(mean=(low + high) / 2, low=low, high=high, images=32)


@pytest.mark.parametrize(
    ("number", "excess", "expected"),
    [
        ((0.1, 0.2), (0.1, 0.2), "holds"),
        ((0.1, 0.2), (-0.1, 0.2), "holds without training"),
        ((0.1, 0.2), (-0.2, -0.1), "holds without training"),
        ((-0.1, 0.2), (0.1, 0.2), "undecided"),
        ((-0.2, -0.1), (0.1, 0.2), "does not hold"),
        (None, (0.1, 0.2), "holds"),
        (None, (-0.1, 0.2), "undecided"),
        (None, (-0.2, -0.1), "does not hold"),
    ],
)
def test_decision_on_a_network(number: tuple[float, float] | None, excess: tuple[float, float], expected: str) -> None:
    assert decision(None if number is None else interval(*number), interval(*excess)) == expected


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (["holds"] * 5 + ["undecided"], "holds"),
        (["holds"] * 4 + ["holds without training"] * 2, "holds without training"),
        (["holds"] * 4 + ["undecided"] * 2, "depends on the network"),
        (["does not hold"] * 5 + ["holds"], "does not hold"),
        (["holds"] * 4, "holds"),
        (["holds"] * 3 + ["undecided"], "depends on the network"),
    ],
)
def test_decision_on_all_networks(found: list[str], expected: str) -> None:
    assert altogether(found) == expected


def test_growth_is_the_lowest_level_less_the_highest() -> None:
    rows = [
        {"image": 3, "level": level, "a": value, "kind": "x"} for level, value in ((0.95, 1.0), (0.7, 9.0), (0.3, 4.0))
    ]
    assert growth(rows, "a", kind="x") == {(3,): 3.0}
    assert column([{"first": 1, "second": 2, "d": 0.5}, {"image": 1, "c": 2}], "d") == {(1, 2): 0.5}


def test_a_line_that_was_cut_off_is_measured_again(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"unit": ["a"], "rows": []}\n{"unit": ["b"], "ro')
    assert [one["unit"] for one in finished(tmp_path / "rows.jsonl")] == [["a"]]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Random networks of 16 pixels in place of the package's, few images and steps."""

    def made(name: str) -> ScoreNetwork:
        return network(NAMES.index(name))

    monkeypatch.setattr(measures, "trained", made)
    monkeypatch.setattr(measures, "STEPS", 4)
    monkeypatch.setattr(measures, "DRAWING_STEPS", 4)
    monkeypatch.setattr(measures, "DESCENTS", 2)
    monkeypatch.setattr(measures, "SEGMENTS", 2)
    monkeypatch.setattr(measures, "CONDITIONS", NAMES)
    galaxies.cache_clear()
    yield
    galaxies.cache_clear()


@pytest.mark.nightly
def test_every_part_is_measured_decided_and_resumed(
    small: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    output = tmp_path / "claims.json"
    monkeypatch.setattr(claims, "AT_CLEAN", NAMES)
    monkeypatch.setattr(measures, "PRODUCTS", 8)
    monkeypatch.setattr(measures, "EIM", lambda: EIM(search=HSDS(steps=2)))
    monkeypatch.setattr(measures, "FlowEdit", lambda **how: FlowEdit(steps=2, **how))
    options = ["--output", output, "--folder", tmp_path, "--images", 2, "--seed", 1, "--networks", *NAMES]
    monkeypatch.setattr("sys.argv", ["claims", *map(str, options)])
    main()
    first = output.read_text()
    monkeypatch.setattr(claims, "measured", None)  # nothing is measured again
    main()
    assert output.read_text() == first
    known = {tuple(one["unit"]): one["rows"] for one in finished(tmp_path / "rows.jsonl")}
    assert set(known) == set(units(NAMES))
    found: dict[str, Any] = {**decided(known, NAMES), **described(known, NAMES)}
    assert set(found["claims"]) == set(CLAIMS)
    for claim in found["claims"].values():
        assert all(math.isfinite(one["excess"]["mean"]) for one in claim["networks"].values())


@pytest.mark.slow
@torch.no_grad()
def test_rows_of_bases_are_those_of_the_jacobian(
    small: None,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """Largest singular values and norm against the dense Jacobian, and the distance of the spaces of two images."""
    monkeypatch.setattr(measures, "levels_at", lambda _: (0.3,))
    galaxy = galaxies(NAMES[0], 2, 1)
    some = bases(galaxy, "trained", "clean", 0.3, tmp_path)
    feature = galaxy.feature("trained", "clean", 0.3)
    for image, z in enumerate(measures.inverted(galaxy, 0.3).top):
        with torch.enable_grad():
            dense = torch.autograd.functional.jacobian(feature, z[None]).reshape(z.numel(), -1).double()
        assert torch.allclose(some["values"][image].double(), torch.linalg.svdvals(dense)[:4], rtol=1e-2)
        assert float(some["norm"][image]) == pytest.approx(float(dense.norm()), rel=0.2)  # eight random probes
    rows = list(measured(("spectra", NAMES[0], "trained", "clean"), 2, 1, tmp_path))
    distance = next(row["distance"] for row in rows if "distance" in row and row["level"] == 0.3)
    assert distance == pytest.approx(geodesic_distance(*some["u"]) / math.pi)  # pi is the distance at 4 right angles
