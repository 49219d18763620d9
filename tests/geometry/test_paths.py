"""Curves between two images: their ends, what is measured along them, and the way back."""

import dataclasses
import functools
import inspect
import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from latentedit.core.errors import ConfigError
from latentedit.core.linalg.block_lanczos import TruncatedSVD, truncated_svd
from latentedit.editing.discovery import transport
from latentedit.geometry.curves import lerp, shortest_curve, slerp
from latentedit.geometry.local_basis import local_basis
from latentedit.geometry.papers import PAPERS, settings_of
from latentedit.geometry.paths import METHODS, LatentPath, PathsBetween, encode_pair, paths_between
from latentedit.geometry.subspaces import principal_angles
from latentedit.latents.encode import encode
from latentedit.latents.inversion import invert
from latentedit.latents.joint import JointLatent
from latentedit.models.derivatives import FeatureMap
from tests.directions.networks import NetworkBackbone, network_latent
from tests.editors.colors import ColorBackbone
from tests.editors.edits import gray, noisy

FRAMES, LEVEL, STEPS, RANK = 5, 0.7, 6, 3


@pytest.fixture(scope="module")
def latent() -> JointLatent:
    return network_latent(NetworkBackbone())


@pytest.fixture(scope="module")
def between(latent: JointLatent) -> PathsBetween:
    return paths_between(latent, frames=FRAMES, level=LEVEL, steps=STEPS, rank=RANK)


def by_method(between: PathsBetween) -> dict[str, LatentPath]:
    return {path.method: path for path in between.paths}


def feature_map(between: PathsBetween) -> FeatureMap:
    backbone = between.latent.backbone
    return FeatureMap(backbone=backbone, site="mid", level=LEVEL, condition=backbone.embed([""]))


@pytest.mark.slow
def test_ends_are_the_images_bit_for_bit(latent: JointLatent, between: PathsBetween) -> None:
    trace = invert(latent, latent.path(STEPS, LEVEL))
    assert between.level == LEVEL
    assert tuple(by_method(between)) == METHODS
    for path in between.paths:
        assert path.points.shape == path.z.shape == (FRAMES, 2, 3)
        for row, place in ((0, 0), (1, -1)):
            assert torch.equal(path.points[place], trace.top[row])
            assert torch.equal(path.z[place], latent.z[row])


def test_straight_and_arc(between: PathsBetween) -> None:
    paths, (a, b) = by_method(between), between.trace.top
    weights = torch.linspace(0, 1, FRAMES).double()
    assert torch.allclose(paths["lerp"].points, lerp(a, b, weights))
    assert torch.allclose(paths["slerp"].points, slerp(a, b, weights))


def test_the_geodesic_has_the_least_energy(
    between: PathsBetween, latent: JointLatent, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = by_method(between)
    energies = {method: float(path.speeds.square().sum()) for method, path in paths.items()}
    assert energies["geodesic"] < min(energies["slerp"], energies["lerp"])
    settled = shortest_curve(feature_map(between), paths["geodesic"].points, steps=300)
    assert settled.converged
    assert energies["geodesic"] == pytest.approx(settled.energy[1], rel=0.05)
    short = functools.partial(shortest_curve, steps=2)
    monkeypatch.setattr("latentedit.geometry.paths.shortest_curve", short)
    found = paths_between(latent, methods=["geodesic"], frames=3, level=LEVEL, steps=2, rank=1)
    assert "might find a shorter curve" in found.paths[0].notes[0]


def test_tangent_spaces_that_have_not_converged_are_noted(latent: JointLatent, monkeypatch: pytest.MonkeyPatch) -> None:
    settled = iter((True, False, True))

    def search(*arguments: Any, **settings: Any) -> TruncatedSVD:
        return dataclasses.replace(truncated_svd(*arguments, **settings), converged=next(settled))

    monkeypatch.setattr("latentedit.geometry.paths.truncated_svd", search)
    found = paths_between(latent, methods=["lerp"], frames=3, level=LEVEL, steps=2, rank=1)
    assert [note.partition(";")[0] for note in found.paths[0].notes] == ["some tangent spaces have not converged"]


def test_lengths_and_turns_are_those_of_the_feature_under_no_text(between: PathsBetween) -> None:
    """Against LAPACK on the derivative by autograd; a quarter of a degree is the search's own tolerance."""
    feature = feature_map(between)

    def tangent(point: Tensor) -> Tensor:
        jacobian = torch.autograd.functional.jacobian(lambda z: feature(z[None])[0], point)
        assert isinstance(jacobian, Tensor)
        return torch.linalg.svd(jacobian.reshape(9, 6))[0][:, :RANK].T

    for path in between.paths:
        speeds = [float((b - a).norm()) for a, b in itertools.pairwise(feature(path.points))]
        assert path.speeds.tolist() == pytest.approx(speeds)
        assert path.length == pytest.approx(sum(speeds))
        spaces = [tangent(point) for point in path.points]
        expected = [float(principal_angles(a, b).norm()) for a, b in itertools.pairwise(spaces)]
        assert path.turns.tolist() == pytest.approx(expected, abs=math.radians(0.5))
        assert path.semantic_length == pytest.approx(sum(expected), abs=math.radians(2))
    assert between.random.low < between.random.mean < between.random.high


def test_the_way_back_is_the_networks_flow_from_each_point(latent: JointLatent, between: PathsBetween) -> None:
    """Euler steps down from the point, written out, where the aligned way back has its displacements."""
    backbone, levels = latent.backbone, between.trace.levels
    for path in between.paths:
        for place in range(1, FRAMES - 1):
            weight = place / (FRAMES - 1)
            text = latent.condition[:1].lerp(latent.condition[1:], weight)
            states = [torch.lerp(state[:1], state[1:], weight) for state in between.trace.states]
            z = path.points[place : place + 1]
            for index in reversed(range(len(levels) - 1)):
                level = torch.tensor([levels[index]], dtype=torch.float64)
                aligned = states[index] + (z - states[index + 1])
                z = z - (levels[index + 1] - levels[index]) * backbone.velocity(aligned, level, text)
            assert torch.allclose(path.z[place], z[0], atol=1e-12)


@pytest.mark.slow
def test_what_is_counted_and_reported(latent: JointLatent, between: PathsBetween) -> None:
    report = list[tuple[str, int, int]]()
    with latent.backbone.count() as cost:
        wanted: dict[str, Any] = {"frames": FRAMES, "level": LEVEL, "steps": STEPS, "rank": RANK}
        one = paths_between(latent, methods=["slerp"], **wanted, progress=lambda *what: report.append(what))
    assert one.evaluations == cost.evaluations
    assert {what for what, _, _ in report} == {"integrate", "tangent spaces", "return"}
    assert [done for what, done, _ in report if what == "tangent spaces"] == [1, 2, 3, 4, 5]
    assert torch.equal(one.paths[0].points, by_method(between)["slerp"].points)
    again = paths_between(latent, methods=["slerp"], **wanted)
    assert torch.equal(again.paths[0].turns, one.paths[0].turns)


def test_bad_requests_are_refused(latent: JointLatent) -> None:
    same = dataclasses.replace(latent, z=latent.z[:1].repeat(2, 1, 1))
    cases: list[tuple[JointLatent, dict[str, Any], str]] = [
        (latent, {"methods": ["slrep"]}, "'slrep'.*'slerp'"),
        (latent, {"methods": []}, "method"),
        (latent, {"frames": 2}, "frames.*3.*2"),
        (latent, {"frames": 51}, "frames.*50.*51"),
        (network_latent(NetworkBackbone(), 3), {}, "3"),
        (same, {}, "images"),
        (latent, {"level": 1.5}, "level.*1.5"),
        (latent, {"rank": 7, "steps": 2}, "6.*7"),
    ]
    for pair, wanted, words in cases:
        with pytest.raises(ConfigError, match=words):
            paths_between(pair, **wanted)


@pytest.fixture
def reading(register: Callable[..., None]) -> ColorBackbone:
    """A model with a captioner."""
    register("captioners", colors="tests.editors.colors:ColorReader")
    model = ColorBackbone(sizes=(4, 8, 12))
    model.defaults = {"captioner": "colors"}
    return model


def test_captions_of_a_pair(reading: ColorBackbone) -> None:
    pair = encode_pair(reading, [noisy(), gray()], ["green", None])
    assert pair.captions == ("green", "gray")
    assert torch.equal(pair.condition.tokens, reading.embed(["green", "gray"]).tokens)
    alone = encode(reading, gray(), source_prompt="gray")
    assert torch.equal(pair.z[1], alone.z[0])
    assert torch.equal(pair.frames[1].pixels, alone.frames[0].pixels)
    model = ColorBackbone()
    pair = encode_pair(model, [noisy(), gray()], [None, "red"])
    assert pair.captions == ("", "red")
    assert torch.equal(pair.condition.tokens, model.embed(["", "red"]).tokens)


def test_what_is_no_pair_is_refused(reading: ColorBackbone) -> None:
    wide: Any = Image.fromarray(np.asarray(gray(size=(48, 16))))
    with pytest.raises(ConfigError, match=r"8 x 8.*12 x 4"):
        encode_pair(reading, [gray(size=(16, 16)), wide], [None, None])


def test_settings_of_papers_are_arguments_of_our_functions() -> None:
    for name in PAPERS:
        paper = settings_of(name)
        for function, given in ((local_basis, paper.basis), (paths_between, paper.paths), (transport, paper.transport)):
            assert set(given) <= set(inspect.signature(function).parameters)
