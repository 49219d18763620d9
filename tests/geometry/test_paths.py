"""Paths between two images: their ends, their measurements, and the return to clean latents."""

import dataclasses
import functools
import inspect
import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from latentedit.core.errors import ConfigError
from latentedit.editing.discovery import transport
from latentedit.encoding.encode import encode
from latentedit.encoding.inversion import invert
from latentedit.encoding.joint import JointLatent
from latentedit.geometry.curves import lerp, shortest_curve, slerp
from latentedit.geometry.papers import PAPERS, settings_of
from latentedit.geometry.paths import METHODS, LatentPath, PathsBetween, encode_pair, paths_between
from latentedit.geometry.pullback import local_basis
from latentedit.geometry.subspaces import principal_angles
from latentedit.models.derivatives import FeatureMap
from latentedit.numerics.block_lanczos import TruncatedSVD, truncated_svd
from tests.editors.colors import ColorBackbone
from tests.editors.edits import gray, noisy
from tests.identification.networks import NetworkBackbone, network_latent

FRAMES, LEVEL, STEPS, RANK = 5, 0.7, 6, 3


@pytest.fixture(scope="module")
def latent() -> JointLatent:
    return network_latent(NetworkBackbone())


@pytest.fixture(scope="module")
def path_set(latent: JointLatent) -> PathsBetween:
    return paths_between(latent, frames=FRAMES, level=LEVEL, steps=STEPS, rank=RANK)


def by_method(path_set: PathsBetween) -> dict[str, LatentPath]:
    return {path.method: path for path in path_set.paths}


def feature_map(path_set: PathsBetween) -> FeatureMap:
    backbone = path_set.latent.backbone
    return FeatureMap(backbone=backbone, site="mid", level=LEVEL, condition=backbone.embed([""]))


@pytest.mark.slow
def test_ends_are_the_images_bit_for_bit(latent: JointLatent, path_set: PathsBetween) -> None:
    trace = invert(latent, latent.path(STEPS, LEVEL))
    assert path_set.level == LEVEL
    assert tuple(by_method(path_set)) == METHODS
    for path in path_set.paths:
        assert path.points.shape == path.z.shape == (FRAMES, 2, 3)
        for row, index in ((0, 0), (1, -1)):
            assert torch.equal(path.points[index], trace.top[row])
            assert torch.equal(path.z[index], latent.z[row])


def test_lerp_and_slerp_paths(path_set: PathsBetween) -> None:
    paths, (a, b) = by_method(path_set), path_set.trace.top
    weights = torch.linspace(0, 1, FRAMES).double()
    assert torch.allclose(paths["lerp"].points, lerp(a, b, weights))
    assert torch.allclose(paths["slerp"].points, slerp(a, b, weights))


def test_the_geodesic_has_the_least_energy(
    path_set: PathsBetween, latent: JointLatent, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = by_method(path_set)
    energies = {method: float(path.speeds.square().sum()) for method, path in paths.items()}
    assert energies["geodesic"] < min(energies["slerp"], energies["lerp"])
    optimum = shortest_curve(feature_map(path_set), paths["geodesic"].points, steps=300)
    assert optimum.converged
    assert energies["geodesic"] == pytest.approx(optimum.energy[1], rel=0.05)
    limited_search = functools.partial(shortest_curve, steps=2)
    monkeypatch.setattr("latentedit.geometry.paths.shortest_curve", limited_search)
    result = paths_between(latent, methods=["geodesic"], frames=3, level=LEVEL, steps=2, rank=1)
    assert "might find a shorter curve" in result.paths[0].notes[0]


def test_unconverged_tangent_spaces_are_noted(latent: JointLatent, monkeypatch: pytest.MonkeyPatch) -> None:
    converged = iter((True, False, True))

    def svd_with_flag(*args: Any, **kwargs: Any) -> TruncatedSVD:
        return dataclasses.replace(truncated_svd(*args, **kwargs), converged=next(converged))

    monkeypatch.setattr("latentedit.geometry.paths.truncated_svd", svd_with_flag)
    result = paths_between(latent, methods=["lerp"], frames=3, level=LEVEL, steps=2, rank=1)
    assert [note.partition(";")[0] for note in result.paths[0].notes] == ["some tangent spaces have not converged"]


def test_lengths_and_turns_match_the_feature_map(path_set: PathsBetween) -> None:
    """Against LAPACK on Jacobians by autograd; the truncated SVD has a tolerance of a quarter of a degree."""
    feature = feature_map(path_set)

    def tangent(point: Tensor) -> Tensor:
        jacobian = torch.autograd.functional.jacobian(lambda z: feature(z[None])[0], point)
        assert isinstance(jacobian, Tensor)
        return torch.linalg.svd(jacobian.reshape(9, 6))[0][:, :RANK].T

    for path in path_set.paths:
        speeds = [float((b - a).norm()) for a, b in itertools.pairwise(feature(path.points))]
        assert path.speeds.tolist() == pytest.approx(speeds)
        assert path.length == pytest.approx(sum(speeds))
        spaces = [tangent(point) for point in path.points]
        expected = [float(principal_angles(a, b).norm()) for a, b in itertools.pairwise(spaces)]
        assert path.turns.tolist() == pytest.approx(expected, abs=math.radians(0.5))
        assert path.semantic_length == pytest.approx(sum(expected), abs=math.radians(2))
    assert path_set.random.low < path_set.random.mean < path_set.random.high


def test_the_return_follows_the_flow_from_each_point(latent: JointLatent, path_set: PathsBetween) -> None:
    """Explicit Euler steps with aligned latents, where the implementation uses displacements."""
    backbone, levels = latent.backbone, path_set.trace.levels
    for path in path_set.paths:
        for index in range(1, FRAMES - 1):
            weight = index / (FRAMES - 1)
            text = latent.condition[:1].lerp(latent.condition[1:], weight)
            states = [torch.lerp(state[:1], state[1:], weight) for state in path_set.trace.states]
            z = path.points[index : index + 1]
            for step in reversed(range(len(levels) - 1)):
                level = torch.tensor([levels[step]], dtype=torch.float64)
                aligned = states[step] + (z - states[step + 1])
                z = z - (levels[step + 1] - levels[step]) * backbone.velocity(aligned, level, text)
            assert torch.allclose(path.z[index], z[0], atol=1e-12)


def test_cost_and_progress_are_reported(latent: JointLatent, path_set: PathsBetween) -> None:
    reports = list[tuple[str, int, int]]()
    with latent.backbone.count() as cost:
        options: dict[str, Any] = {"frames": FRAMES, "level": LEVEL, "steps": STEPS, "rank": RANK}
        single = paths_between(latent, methods=["slerp"], **options, progress=lambda *stage: reports.append(stage))
    assert single.evaluations == cost.evaluations
    assert {stage for stage, _, _ in reports} == {"integrate", "tangent spaces", "return"}
    assert [done for stage, done, _ in reports if stage == "tangent spaces"] == [1, 2, 3, 4, 5]
    assert torch.equal(single.paths[0].points, by_method(path_set)["slerp"].points)
    repeated = paths_between(latent, methods=["slerp"], **options)
    assert torch.equal(repeated.paths[0].turns, single.paths[0].turns)


def test_invalid_arguments_are_rejected(latent: JointLatent) -> None:
    equal_images = dataclasses.replace(latent, z=latent.z[:1].repeat(2, 1, 1))
    cases: list[tuple[JointLatent, dict[str, Any], str]] = [
        (latent, {"methods": ["slrep"]}, "'slrep'.*'slerp'"),
        (latent, {"methods": []}, "method"),
        (latent, {"frames": 2}, "frames.*3.*2"),
        (latent, {"frames": 51}, "frames.*50.*51"),
        (network_latent(NetworkBackbone(), 3), {}, r"3.*paths_between\(.*encode\(model"),
        (equal_images, {}, "images"),
        (latent, {"level": 1.5}, "level.*1.5"),
        (latent, {"rank": 7, "steps": 2}, "6.*7"),
    ]
    for pair, options, message in cases:
        with pytest.raises(ConfigError, match=message):
            paths_between(pair, **options)


def test_captions_and_shapes_of_a_pair(colors: ColorBackbone) -> None:
    pair = encode_pair(colors, [noisy(), gray()], ["green", None])
    assert pair.captions == ("green", "gray")
    assert torch.equal(pair.condition.tokens, colors.embed(["green", "gray"]).tokens)
    single_image = encode(colors, gray(), source_prompt="gray")
    assert torch.equal(pair.z[1], single_image.z[0])
    assert torch.equal(pair.frames[1].pixels, single_image.frames[0].pixels)
    model = ColorBackbone(sizes=(4, 8, 12))  # without a captioner
    pair = encode_pair(model, [noisy(), gray()], [None, "red"])
    assert pair.captions == ("", "red")
    assert torch.equal(pair.condition.tokens, model.embed(["", "red"]).tokens)
    with pytest.raises(ConfigError, match=r"8 x 8.*12 x 4"):
        encode_pair(model, [gray(size=(16, 16)), gray(size=(48, 16))], [None, None])


def test_paper_settings_are_arguments_of_our_functions() -> None:
    assert {"2302.12469", "2307.12868"} <= set(PAPERS)
    for name in PAPERS:
        paper = settings_of(name)
        assert paper.basis
        assert paper.transport
        for function, arguments in (
            (local_basis, paper.basis),
            (paths_between, paper.paths),
            (transport, paper.transport),
        ):
            assert set(arguments) <= set(inspect.signature(function).parameters)
