import itertools
import math
from pathlib import Path

import pandas as pd
import pytest
import torch

from latentedit.core.geometry.angles import principal_angles
from latentedit.core.geometry.interpolation import slerp
from latentedit.models.feature_jacobian import FeatureMap
from latentedit.testing.gaussian_mixture import example_mixture
from latentedit_bench.experiments.curvedness import Curvedness, noised
from tests.bench.experiments.gaussians import beside, drawn, gaussian, legend, study_of

pytestmark = pytest.mark.slow

SMALL = Curvedness(segments=3, tangents=2, descents=15)


def test_pairs_share_no_picture_and_a_shot_starts_at_the_first_of_each() -> None:
    study = study_of(example_mixture(dimension=4), 5, levels=(0.9, 0.5), rank=2)
    ends = [("pair", 0), ("pair", 2), ("shot", 0), ("shot", 2)]
    assert SMALL.items(study) == [(level, *end) for level in (0.9, 0.5) for end in ends]


def test_ends_have_a_noise_of_their_own() -> None:
    """Of many numbers, near noise: nearly at a right angle, 1 / sqrt(400) of the cosine."""
    study = study_of(gaussian(torch.ones(1), torch.eye(400)[:1], (400,)), 2, levels=(0.95,), rank=1)
    ends = [noised(study, picture, 0.95) for picture in range(2)]
    noises = [(end - 0.05 * study.latents[index].z[0]) / 0.95 for index, end in enumerate(ends)]
    assert float(torch.cosine_similarity(*noises, dim=0).abs()) < 4 / 20
    assert [float(noise.square().mean()) for noise in noises] == pytest.approx([1, 1], abs=5 * (2 / 400) ** 0.5)
    assert torch.equal(noised(study, 0, 0.95), ends[0])


@pytest.mark.nightly
def test_nothing_turns_in_a_flat_space() -> None:
    """The map of one Gaussian is linear: tangent spaces are one, and nothing beats a line."""
    study = study_of(gaussian(torch.tensor([4.0, 1.0]), torch.eye(8)[:2], (8,)), 2, levels=(0.5,), rank=3)
    shot = {str(row["method"]): row for row in SMALL.look_at(study, (0.5, "shot", 0))}
    pair = {str(row["method"]): row for row in SMALL.look_at(study, (0.5, "pair", 0))}
    assert list(shot.values()) == SMALL.look_at(study, (0.5, "shot", 0)), "the same again"
    assert {(row["level"], row["ends"], row["first"]) for row in shot.values()} == {(0.5, "shot", 0)}
    assert list(shot) == ["shooting", "lerp", "slerp"]
    assert shot["shooting"]["latent"] == pytest.approx(3 * 0.05 * float(noised(study, 0, 0.5).norm()), rel=1e-2)
    assert list(pair) == ["lerp", "slerp", "geodesic"]
    for row in (*shot.values(), pair["lerp"], pair["slerp"]):
        # bases are within 1 degree of the truth, so two are within 2 of one another, in both of two angles
        assert float(row["semantic"] or 0) <= 3 * 2**0.5 * 2 * 0.0175
        assert float(row["turned"] or 0) <= 2 / 90
    assert pair["geodesic"]["semantic"] is None
    for found in (shot, pair):
        assert found["lerp"]["feature"] == 1
        assert float(found["slerp"]["feature"] or 0) >= 1 - 1e-9
    assert pair["geodesic"]["feature"] == pytest.approx(1, abs=1e-3)


def test_of_an_untrained_network_line_and_arc_are_looked_at() -> None:
    backbone = gaussian(torch.tensor([4.0, 1.0]), torch.eye(8)[:2], (8,))
    study = study_of(backbone, 2, levels=(0.5,), rank=3).untrained(backbone)
    assert [row["method"] for row in SMALL.look_at(study, (0.5, "pair", 0))] == ["lerp", "slerp"]
    assert SMALL.look_at(study, (0.5, "shot", 0)) == []


def test_lengths_in_a_curved_space_are_those_of_the_whole_jacobian() -> None:
    """Of the arc between two pictures, by autograd and LAPACK at its four points."""
    study = study_of(example_mixture(dimension=6), 2, levels=(0.5,), rank=2)
    rows = {str(row["method"]): row for row in SMALL.look_at(study, (0.5, "pair", 0))}
    condition = study.backbone.embed([""])
    feature = FeatureMap(backbone=study.backbone, site="clean", level=0.5, condition=condition)
    ends = [noised(study, picture, 0.5) for picture in range(2)]
    points = slerp(ends[0], ends[1], torch.linspace(0, 1, 4, dtype=torch.float64))
    spaces, values = list[torch.Tensor](), feature(points).detach()
    for point in points:
        jacobian = torch.autograd.functional.jacobian(lambda z: feature(z[None])[0], point)
        assert isinstance(jacobian, torch.Tensor)
        spaces.append(torch.linalg.svd(jacobian)[0].T[:2])
    turns = [float(principal_angles(a, b).norm()) for a, b in itertools.pairwise(spaces)]
    assert sum(turns) > 0.05
    assert rows["slerp"]["semantic"] == pytest.approx(sum(turns), abs=3 * 2**0.5 * 2 * 0.0175)
    assert rows["slerp"]["turned"] == pytest.approx(max(turns) / (math.pi / 2**0.5), abs=2 / 90)
    lengths = [float((b - a).norm()) for a, b in itertools.pairwise(values)]
    line = feature(torch.lerp(ends[0], ends[1], torch.linspace(0, 1, 4, dtype=torch.float64)[:, None])).detach()
    unit = sum(float((b - a).norm()) for a, b in itertools.pairwise(line))
    assert rows["slerp"]["feature"] == pytest.approx(sum(lengths) / unit, rel=1e-9)


def table_of(turn: float, shoot: float, *, pairs: int = 7, own: bool = True) -> pd.DataFrame:
    """Slerp is so much shorter than lerp, and shooting and the geodesic so much shorter than slerp."""
    rows: list[dict[str, object]] = []
    for pair, ends in itertools.product(range(pairs), ("shot", "pair") if own else ("pair",)):
        lengths = {"lerp": 2.0, "slerp": 2.0 - turn}
        if own:
            lengths |= {"shooting" if ends == "shot" else "geodesic": 2.0 - turn - shoot}
        for method, length in lengths.items():
            size = length * (1 + 0.02 * (pair - (pairs - 1) / 2))
            row = {"model": "one", "level": 0.95, "ends": ends, "first": 2 * pair, "method": method, "latent": 1.0}
            known = method != "geodesic"
            row |= {"semantic": size if known else None, "turned": 0.2 if known else None, "feature": size / 2}
            rows.append(row)
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("turn", "shoot", "of_twin", "verdict"),
    [(0.2, 0.3, 0.1, "holds"), (-0.2, 0.3, 0.0, "does not hold"), (0.2, -0.3, 0.3, "does not hold")],
)
def test_claims_follow_the_lengths_beyond_those_of_the_twin(
    turn: float, shoot: float, of_twin: float, verdict: str
) -> None:
    found = Curvedness().conclude(beside(table_of(turn, shoot), table_of(of_twin, 0.0, own=False)))
    assert found.claims[0].verdict == verdict
    expected = [turn - of_twin, turn, of_twin, turn / 2, shoot / 2, shoot, shoot / 2]
    assert [claim.estimate for claim in found.claims] == pytest.approx(expected)
    assert {claim.samples for claim in found.claims} == {7}, "pairs, which share no picture"
    assert found.claims[5].measure == "slerp minus shooting to the end of a shot: semantic length, rad"
    turned = found.summary[(found.summary["measure"] == "turned") & (found.summary["kind"] == "pair, lerp")]
    assert turned["mean"].tolist() == pytest.approx([0.2, 0.2])


@pytest.mark.nightly
def test_a_model_of_longer_curves_is_seen_whole(tmp_path: Path) -> None:
    one = beside(table_of(0.2, 0.3), table_of(0.1, 0.0, own=False))
    two = one.assign(model="two", semantic=3 * one["semantic"])
    figure = drawn(Curvedness(), pd.concat([one, two], ignore_index=True), tmp_path)
    bottom, top = figure.axes[1].get_ylim()
    assert bottom <= 0
    assert top > two["semantic"].max()


@pytest.mark.nightly
def test_the_plot_has_a_place_a_curve(tmp_path: Path) -> None:
    figure = drawn(Curvedness(), beside(table_of(0.2, 0.3), table_of(0.1, 0.0, own=False)), tmp_path)
    pair, shot = "between two noisy pictures, level 0.95", "to the end of a shot, level 0.95"
    assert sorted(legend(figure, 0)) == sorted([f"trained, {pair}", f"trained, {shot}", f"untrained, {pair}"])
    upper, lower = figure.axes
    assert upper.containers[0].lines[0].get_ydata().tolist() == pytest.approx([2.0, 1.8, 1.5])
    assert lower.get_ylabel() == "length in features / that of lerp"
