import dataclasses
import itertools
from pathlib import Path

import pandas as pd
import pytest
import torch

from latentedit.core.geometry.angles import principal_angles
from latentedit.core.geometry.interpolation import slerp
from latentedit.models.feature_jacobian import FeatureMap
from latentedit.testing.gaussian_mixture import example_mixture
from latentedit_bench.experiments.curvedness import Curvedness
from tests.bench.experiments.gaussians import drawn, gaussian, legend, study_of

LEVELS = (0.9, 0.5, 0.1)
SMALL = Curvedness(segments=3, tangents=2, descents=15)


def test_shots_of_all_pictures_and_pairs_in_a_ring() -> None:
    study = study_of(example_mixture(dimension=4), 3, levels=(0.9, 0.7, 0.5, 0.3), rank=2)
    ends = [("shot", 0, 0), ("shot", 1, 1), ("shot", 2, 2), ("pair", 0, 1), ("pair", 1, 2), ("pair", 0, 2)]
    assert SMALL.items(study) == [(level, *end) for level in (0.9, 0.5) for end in ends]
    two = dataclasses.replace(study, latents=study.latents[:2], levels=(0.5,))
    assert SMALL.items(two) == [(0.5, "shot", 0, 0), (0.5, "shot", 1, 1), (0.5, "pair", 0, 1)]


def test_nothing_turns_in_a_flat_space() -> None:
    """The map of one Gaussian is linear: tangent spaces are one, shooting is straight, and nothing beats a line."""
    study = study_of(gaussian(torch.tensor([4.0, 1.0]), torch.eye(8)[:2], (8,)), 2, levels=(0.5,), rank=3)
    shot = {str(row["method"]): row for row in SMALL.look_at(study, (0.5, "shot", 0, 0))}
    pair = {str(row["method"]): row for row in SMALL.look_at(study, (0.5, "pair", 0, 1))}
    assert list(shot.values()) == SMALL.look_at(study, (0.5, "shot", 0, 0)), "the same again"
    assert {(row["level"], row["ends"], row["first"], row["second"]) for row in shot.values()} == {(0.5, "shot", 0, 0)}
    assert list(shot) == ["shooting", "random", "lerp", "slerp", "geodesic"]
    assert list(pair) == ["lerp", "slerp", "geodesic"]
    for row in (*shot.values(), *pair.values()):
        # bases are within 0.25 degrees of the truth, so two are within 0.5 of one another, in both of two angles
        assert float(row["semantic"] or 0) <= 3 * 2**0.5 * 2 * 0.00437
    assert shot["shooting"]["feature"] == pytest.approx(1, abs=1e-4)
    assert shot["shooting"]["latent"] == pytest.approx(0.6 * float(study.basis(0, 0.5).trace.top.norm()), rel=1e-6)
    assert shot["random"]["latent"] == pytest.approx(float(shot["lerp"]["latent"] or 0), rel=1e-6)
    assert float(shot["random"]["feature"] or 0) < 1  # the first direction is the one that changes the feature most
    for found in (shot, pair):
        assert found["lerp"]["feature"] == 1
        assert found["geodesic"]["feature"] == pytest.approx(1, abs=1e-3)
        assert float(found["slerp"]["feature"] or 0) >= 1 - 1e-9


def test_lengths_in_a_curved_space_are_those_of_the_whole_jacobian() -> None:
    """Of the arc between two pictures, by autograd and LAPACK at its four points."""
    study = study_of(example_mixture(dimension=6), 2, levels=(0.5,), rank=2)
    rows = {str(row["method"]): row for row in SMALL.look_at(study, (0.5, "pair", 0, 1))}
    bases = [study.basis(picture, 0.5) for picture in (0, 1)]
    feature = FeatureMap(backbone=study.backbone, site="clean", level=bases[0].level, condition=bases[0].condition)
    ends = [basis.trace.top[0] for basis in bases]
    points = slerp(ends[0], ends[1], torch.linspace(0, 1, 4, dtype=torch.float64))
    spaces, values = list[torch.Tensor](), feature(points).detach()
    for point in points:
        jacobian = torch.autograd.functional.jacobian(lambda z: feature(z[None])[0], point)
        assert isinstance(jacobian, torch.Tensor)
        spaces.append(torch.linalg.svd(jacobian)[0].T[:2])
    semantic = sum(float(principal_angles(a, b).norm()) for a, b in itertools.pairwise(spaces))
    assert semantic > 0.05
    assert rows["slerp"]["semantic"] == pytest.approx(semantic, abs=3 * 2**0.5 * 2 * 0.00437)
    lengths = [float((b - a).norm()) for a, b in itertools.pairwise(values)]
    line = feature(torch.lerp(ends[0], ends[1], torch.linspace(0, 1, 4, dtype=torch.float64)[:, None])).detach()
    unit = sum(float((b - a).norm()) for a, b in itertools.pairwise(line))
    assert rows["slerp"]["feature"] == pytest.approx(sum(lengths) / unit, rel=1e-9)


def table_of(turn: float, shoot: float, *, pictures: int = 7) -> pd.DataFrame:
    """Slerp is so much shorter than lerp, and shooting and the geodesic so much shorter than slerp."""
    rows: list[dict[str, object]] = []
    for level, picture, ends in itertools.product(LEVELS[:2], range(pictures), ("shot", "pair")):
        lengths = {"lerp": 2.0, "slerp": 2.0 - turn, "geodesic": 2.0 - turn - shoot}
        lengths |= {"shooting": 2.0 - turn - shoot, "random": 1.5} if ends == "shot" else {}
        second = picture if ends == "shot" else (picture + 1) % pictures
        for method, length in lengths.items():
            own = 1 + 0.02 * (picture - (pictures - 1) / 2)
            row = {"model": "one", "level": level, "ends": ends, "first": picture, "second": second, "method": method}
            rows.append({**row, "semantic": length * own, "feature": length * own / 2, "latent": 1.0})
    return pd.DataFrame(rows)


@pytest.mark.parametrize(("turn", "shoot"), [(0.2, 0.3), (-0.2, 0.3), (0.2, -0.3)])
def test_claims_follow_the_lengths(turn: float, shoot: float) -> None:
    found = Curvedness().conclude(table_of(turn, shoot))
    first, second = ("holds" if value > 0 else "does not hold" for value in (turn, shoot))
    assert [claim.verdict for claim in found.claims] == [first, first, second, first, first, second, second]
    expected = [turn, turn, shoot, turn / 2, turn / 2, shoot / 2, shoot / 2]
    assert [claim.estimate for claim in found.claims] == pytest.approx(expected)
    assert {claim.samples for claim in found.claims} == {7}
    assert found.claims[2].measure == "slerp minus shooting between the ends of a shot: semantic length, rad"
    assert f"one, shot, slerp, semantic: {2 - turn:.4g} at 0.90" in found.line
    rows = found.summary
    random = rows[(rows["method"] == "random") & (rows["measure"] == "semantic")]
    assert random["mean"].tolist() == pytest.approx([1.5, 1.5])


def test_without_shots_nothing_is_said_of_shooting() -> None:
    table = table_of(0.2, 0.3)
    claims = Curvedness().conclude(table[table["ends"] == "pair"]).claims
    assert [claim.samples for claim in claims] == [0, 7, 0, 0, 7, 0, 7]


def test_a_model_of_longer_curves_is_seen_whole(tmp_path: Path) -> None:
    one = table_of(0.2, 0.3)
    two = one.assign(model="two", semantic=3 * one["semantic"])
    figure = drawn(Curvedness(), pd.concat([one, two], ignore_index=True), tmp_path)
    bottom, top = figure.axes[1].get_ylim()
    assert bottom <= 0
    assert top > two["semantic"].max()


def test_the_plot_has_a_place_a_curve(tmp_path: Path) -> None:
    figure = drawn(Curvedness(), table_of(0.2, 0.3), tmp_path)
    places = itertools.product(("to the end of a shot", "to the next picture"), ("0.90", "0.50"))
    assert sorted(legend(figure, 0)) == sorted(f"{where}, level {level}, 95 %" for where, level in places)
    upper, lower = figure.axes
    shot = upper.containers[0].lines[0]
    assert shot.get_ydata().tolist() == pytest.approx([1.5, 2.0, 1.8, 1.5, 1.5])
    assert lower.get_ylabel() == "length in features / that of lerp"
