"""Discoveries with a linear model: walks, names, calibrations, random controls and costs."""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import latentedit as le
from latentedit.core.errors import ConfigError, OutputError
from latentedit.editing import discovery as module
from latentedit.editing.discovery import (
    CONTROLS,
    SCALES,
    Discovery,
    check_folder,
    discover,
    discover_basis,
    draw_discovery,
    file_names,
    probability_reader,
    transport,
    undamaged_scale,
    write_discovery,
)
from latentedit.editing.result import EditResult
from latentedit.encoding.captions.base import to_images
from latentedit.encoding.encode import encode
from latentedit.encoding.joint import JointLatent
from latentedit.geometry.pca import NOISES
from latentedit.geometry.pullback import LocalBasis, local_basis
from latentedit.geometry.walks import CLOSE, TYPICAL_EFFECT
from latentedit.identification.direction import Direction
from latentedit.numerics.rng import draw
from tests.editing.discoveries import gain, halves, known_basis, read_surely, widen
from tests.editors.colors import ColorBackbone
from tests.editors.edits import gray
from tests.folders import names_in
from tests.testing.tolerances import relative_error


@pytest.fixture
def basis(monkeypatch: pytest.MonkeyPatch) -> LocalBasis:
    model = ColorBackbone()
    read_surely(monkeypatch, model)
    return known_basis(model)


@pytest.fixture
def discovery(basis: LocalBasis) -> Discovery:
    return discover_basis(basis)


def test_directions_are_walked_in_both_signs_and_named(basis: LocalBasis, discovery: Discovery) -> None:
    assert [one.probe.meaning.name for one in discovery.directions] == [
        "top: light (+), dark (-)",
        "bottom: light (+), dark (-)",
    ]
    for index, one in enumerate(discovery.directions):
        walked = one.probe
        assert walked.meaning.purity == pytest.approx(1.0, abs=1e-6)
        assert walked.effect == pytest.approx(TYPICAL_EFFECT, rel=CLOSE)
        moved = (walked.z - basis.latent.z) / walked.length
        for scale, z in zip(SCALES, moved, strict=True):
            assert torch.allclose(z, scale * gain(basis) * halves()[index], atol=1e-5)


@pytest.mark.parametrize(("strength", "tolerance"), [(1.0, 1e-3), (-1.0, 0.05)])
def test_a_direction_has_the_same_effect_in_an_edit(
    basis: LocalBasis, discovery: Discovery, strength: float, tolerance: float
) -> None:
    """The edit has a caption, the basis had none. At -1, the judge may limit the strength a little."""
    latent = basis.latent.with_prompt("red")
    for one in discovery.directions:
        result = le.manipulate(latent, one.direction, strength=strength, auto_mask=False)
        assert isinstance(result, EditResult)
        expected = one.probe.z[[SCALES.index(strength)]]
        assert (result.latent.z - expected).norm() <= tolerance * (expected - latent.z).norm()


def test_effects_of_a_linear_model_are_its_scales(discovery: Discovery) -> None:
    known = discovery.directions[0].direction.calibration
    assert known is not None
    assert known.scales == (-2.0, -1.0, 0.0, 1.0, 2.0)
    assert known.effects == pytest.approx(known.scales, abs=1e-4)
    assert (known.arm, known.level, known.steps) == ("joint", discovery.basis.level, discovery.basis.steps)
    assert -2.0 <= known.lowest <= 0 <= known.highest <= 2.0


def test_random_controls_have_equal_length_or_equal_effect(basis: LocalBasis, discovery: Discovery) -> None:
    found = [one.probe for one in discovery.directions]
    assert len(discovery.equal_length) == len(discovery.equal_effect) == min(CONTROLS, len(basis))
    assert [one.length for one in discovery.equal_length] == [one.length for one in found]
    assert [one.effect for one in discovery.equal_effect] == pytest.approx([TYPICAL_EFFECT] * 2, rel=CLOSE)
    # The model stretches all directions alike, so equal lengths have equal effects here.
    assert [one.effect for one in discovery.equal_length] == pytest.approx([one.effect for one in found], rel=1e-3)
    least = min(one.meaning.changes[one.meaning.attribute] for one in found)
    assert all(max(one.meaning.changes.values()) < least / 3 for one in discovery.equal_effect)
    again = discover_basis(basis)
    assert all(torch.equal(a.z, b.z) for a, b in zip(again.equal_effect, discovery.equal_effect, strict=True))
    other = discover_basis(dataclasses.replace(basis, seed=4))
    assert not torch.equal(other.equal_effect[0].z, discovery.equal_effect[0].z)


def test_discovery_reports_progress_and_cost(basis: LocalBasis) -> None:
    with basis.latent.backbone.count() as cost:
        found = discover_basis(basis)
    assert found.cost.evaluations == cost.evaluations
    report: list[str] = []
    discover_basis(basis, progress=lambda what, done, total: report.append(what))
    assert list(dict.fromkeys(report)) == ["step lengths", "edits", "random directions"]


def test_the_basis_of_a_latent_is_computed_with_the_given_settings(basis: LocalBasis) -> None:
    settings: dict[str, Any] = {"site": "clean", "rank": 2, "level": 0.5, "steps": 10, "prompt": "red", "seed": 3}
    found = discover(basis.latent, **settings, progress=False)
    expected = discover_basis(local_basis(basis.latent, **settings))
    assert (found.basis.prompt, found.basis.steps) == ("red", 10)
    assert torch.equal(found.basis.v, expected.basis.v)
    for one, other in zip(found.equal_effect, expected.equal_effect, strict=True):
        assert torch.equal(one.z, other.z)


def test_without_a_probability_reader_directions_are_named_by_place(
    colors: ColorBackbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    widen(monkeypatch)
    assert probability_reader(colors) is None
    found = discover_basis(known_basis(colors))
    assert [one.probe.meaning.name for one in found.directions] == ["top", "bottom"]
    assert all(math.isnan(one.meaning.purity) for one in (*found.equal_length, *found.equal_effect))


def test_without_a_caption_damage_is_measured_under_the_captioners(
    basis: LocalBasis, discovery: Discovery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Verdicts use it, too: an image that is called red can become redder by more than it can become less red."""

    def ends(found: Discovery) -> tuple[float, float]:
        known = found.directions[0].direction.calibration
        assert known is not None
        return known.lowest, known.highest

    gray_ends = ends(discovery)
    monkeypatch.setattr("tests.editing.discoveries.SureReader.caption", lambda _, pixels: ["red"] * len(pixels))
    lowest, highest = ends(discover_basis(basis))
    assert highest > 1.5 * -lowest
    assert -gray_ends[0] == pytest.approx(gray_ends[1], rel=0.05)
    captioned = dataclasses.replace(basis, latent=basis.latent.with_prompt("gray"))
    assert ends(discover_basis(captioned)) == pytest.approx(gray_ends, rel=1e-4)


def test_principal_components_are_walked_named_and_written(basis: LocalBasis, tmp_path: Path) -> None:
    """Against a PCA of features that are computed one by one, and the Jacobian's product."""
    found = discover(basis.latent, method="pca", rank=2, site="clean", level=0.5, steps=10, seed=3)
    point, feature = found.basis, found.basis.feature
    noise = [draw((3, 8, 8), seed=3, purpose="pca", index=index) for index in range(NOISES)]
    rows = np.stack([feature(0.5 * basis.latent.z + 0.5 * e[None]).numpy().ravel() for e in noise]).astype(float)
    values, vectors = np.linalg.eigh(np.cov(rows.T))
    for k, one in enumerate(found.directions):
        wanted = point.jacobian.rmatmat(torch.tensor(vectors[:, -1 - k]).float().reshape(1, 3, 8, 8)).flatten()
        cosine = torch.nn.functional.cosine_similarity(one.direction.z.flatten(), wanted, dim=0)
        assert abs(float(cosine)) == pytest.approx(1, abs=1e-4)
        assert one.direction.settings["deviation"] == pytest.approx(float(values[-1 - k]) ** 0.5, rel=1e-4)
        assert one.probe.effect == pytest.approx(TYPICAL_EFFECT, rel=CLOSE)
    report = write_discovery(found, tmp_path / "out")
    assert [row["deviation"] for row in report["directions"]] == pytest.approx(values[:-3:-1] ** 0.5, rel=1e-4)
    loaded = Direction.load(tmp_path / "out" / report["directions"][0]["file"])
    assert (loaded.method, loaded.settings["rank"], report["record"]["rank"]) == ("pca", 2, 2)
    with pytest.raises(ConfigError, match="'pcs'"):
        discover(basis.latent, method="pcs")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("damage", "ends"),
    [
        ((0.9, 0.5, 0.5, 0.9), (-2.0, 2.0)),
        ((2.0, 0.5, 0.25, 1.75), (-1 - 0.5 / 1.5, 1.5)),
        ((3.0, 2.0, 4.0, 5.0), (-0.75 / 1.75, 0.2)),
        ((3.0, 1.0, 0.5, 0.5), (-1.0, 2.0)),
        ((0.5, 1.5, 0.5, 0.5), (-0.75 / 1.25, 2.0)),
        ((2.25, 1.25, 1.5, 2.75), (-0.75, 0.6)),  # .25 + a and .25 + 1.25 a: linear, so found exactly
    ],
)
def test_the_largest_undamaged_scale_is_interpolated(damage: tuple[float, ...], ends: tuple[float, float]) -> None:
    """Interpolated linearly between the scales, from the image's own residual at 0; the first crossing counts."""
    found = tuple(undamaged_scale(SCALES, damage, sign=sign, nothing=0.25) for sign in (-1, 1))
    assert found == pytest.approx(ends)


NAMES = ["01-top-light-dark.safetensors", "02-bottom-light-dark.safetensors"]


def test_a_discovery_is_written_with_directions_sheet_and_numbers(discovery: Discovery, tmp_path: Path) -> None:
    report = write_discovery(discovery, tmp_path / "out")
    assert names_in(tmp_path) == ["out"]
    assert names_in(tmp_path / "out") == [*NAMES, "directions.png", "discovered.json"]
    assert json.loads((tmp_path / "out" / "discovered.json").read_text()) == report
    assert [row["file"] for row in report["directions"]] == NAMES == file_names(discovery)
    assert [row["singular_value"] for row in report["directions"]] == [2.0, 1.0]
    assert set(report["random"]) == {"equal length", "equal effect"}
    assert (report["record"]["rank"], report["record"]["seed"]) == (2, 3)
    assert report["cost"]["evaluations"] == discovery.cost.evaluations
    for one, row in zip(discovery.directions, report["directions"], strict=True):
        loaded = Direction.load(tmp_path / "out" / row["file"])
        assert torch.equal(loaded.z, one.direction.z)
        known = loaded.calibration
        assert known is not None
        assert row["sound"] == [known.lowest, known.highest]


def test_rows_of_the_sheet_have_the_original_in_the_middle(
    discovery: Discovery, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[tuple[list[Image.Image], list[str]]] = []
    monkeypatch.setattr(module, "draw_grid", lambda images, labels, **_: drawn.append((images, labels)))
    draw_discovery(discovery, title="")
    ((images, labels),) = drawn
    assert labels[:5] == ["-2", "-1", "original", "+1", "+2"]
    (source,) = to_images(discovery.basis.latent.frames[0].pixels[None])
    assert np.array_equal(np.asarray(images[2]), np.asarray(source))


def test_an_earlier_discovery_is_replaced(discovery: Discovery, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_discovery(discovery, out)
    write_discovery(dataclasses.replace(discovery, directions=discovery.directions[:1]), out)
    assert names_in(out) == [NAMES[0], "directions.png", "discovered.json"]
    assert names_in(tmp_path) == ["out"]
    (out / "diary.txt").touch()
    before = names_in(out)
    with pytest.raises(OutputError, match=r"diary\.txt"):
        write_discovery(discovery, out)
    assert names_in(out) == before
    (out / "diary.txt").unlink()
    facts = json.loads((out / "discovered.json").read_text())
    facts["directions"][0]["file"] = ["diary.txt"]  # not a file name
    (out / "discovered.json").write_text(json.dumps(facts))
    with pytest.raises(OutputError):
        check_folder(out)


def test_unusable_folders_are_rejected(tmp_path: Path, read_only_folder: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "missing" / "out", read_only_folder / "out"):
        with pytest.raises(OutputError):
            check_folder(folder)


@pytest.mark.parametrize("what", ["interrupted", "renaming"])
def test_an_interrupted_write_leaves_the_old_folder_unchanged(
    discovery: Discovery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    write_discovery(discovery, tmp_path / "out")
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    rename = Path.rename

    def fail(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    def fail_of_the_new(self: Path, target: Path) -> Path:
        if target == tmp_path / "out" and (self / "discovered.json").read_bytes() != before["discovered.json"]:
            raise OSError(28, "No space left on device")
        return rename(self, target)

    if what == "renaming":
        discovery = dataclasses.replace(discovery, directions=discovery.directions[:1])
        monkeypatch.setattr(Path, "rename", fail_of_the_new)
    else:
        monkeypatch.setattr(module, "save_image", fail)
    with pytest.raises((KeyboardInterrupt, OutputError)):
        write_discovery(discovery, tmp_path / "out")
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
    assert names_in(tmp_path) == ["out"]


@pytest.fixture
def direction(basis: LocalBasis) -> Direction:
    return basis.direction(0, step=5.0)


@pytest.fixture
def other(basis: LocalBasis) -> JointLatent:
    return encode(basis.latent.backbone, gray(seed=7), source_prompt="gray").with_prompt("")


def test_a_transported_direction_makes_the_same_change(
    basis: LocalBasis, direction: Direction, other: JointLatent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model is linear, so the true direction is the same for every image, and in the basis in full."""
    whole, basis = transport(direction, other), dataclasses.replace(basis, latent=other)
    requested: dict[str, object] = {}

    def known(latent: JointLatent, **wanted: object) -> object:
        requested.update(wanted)
        trace = local_basis(latent, site="clean", rank=1, level=0.5, steps=10).trace
        return dataclasses.replace(basis, trace=trace, v=halves(), u=halves())

    monkeypatch.setattr("latentedit.editing.discovery.local_basis", known)
    arrived = transport(direction, other, rank=2, seed=4)
    assert (len(whole.basis), whole.carried.captured) == (0, pytest.approx(1, abs=1e-5)), "by the full Jacobian"
    assert relative_error(whole.discovered.direction.z, arrived.discovered.direction.z) < 1e-3
    wanted = {"site": "clean", "level": 0.5, "steps": 10, "rank": 2, "seed": 4, "prompt": None}
    assert {name: requested[name] for name in wanted} == wanted
    assert arrived.carried.captured == pytest.approx(1)
    walked, found = arrived.discovered.probe, arrived.discovered.direction
    assert walked.meaning.name == found.settings["name"] == "top: light (+), dark (-)"
    assert walked.effect == pytest.approx(TYPICAL_EFFECT, rel=CLOSE)
    assert walked.effect == pytest.approx(walked.length * gain(basis) / 192**0.5, rel=1e-4)
    assert found.settings["step"] == pytest.approx(walked.length)
    assert float(found.length) * 0.5 == pytest.approx(walked.length, rel=1e-5)
    cosine = torch.nn.functional.cosine_similarity(found.z.flatten(), direction.z.flatten(), dim=0)
    assert float(cosine) == pytest.approx(1, abs=1e-5)
    assert found.calibration is not None
    assert found.calibration.scales == (-2.0, -1.0, 0.0, 1.0, 2.0)
    assert found.preview.startswith(b"\x89PNG")
    assert (found.method, found.settings["from"]) == ("transport", direction.fingerprint)
    assert found.settings["full"] is False


def test_transport_uses_the_basis_that_it_finds(direction: Direction, other: JointLatent) -> None:
    """J is a multiple of the identity, so any basis is valid, and a random one of rank 6 has little of the change."""
    report: list[str] = []
    arrived = transport(direction, other, rank=6, progress=lambda what, *_: report.append(what))
    assert len(arrived.basis) == 6
    assert arrived.basis.level == direction.level
    assert 0 < arrived.carried.captured < 0.5
    assert arrived.carried.chance == pytest.approx(6 / 192)
    assert {"integrate", "basis", "step lengths", "edits"} <= set(report)


def test_the_prompt_of_a_direction_is_transported_with_it(direction: Direction, other: JointLatent) -> None:
    prompted = dataclasses.replace(direction, settings={**direction.settings, "prompt": "red"})
    assert transport(prompted, other, rank=2).basis.prompt == "red"
    captioned = dataclasses.replace(prompted, source_captions=("red",))
    assert transport(captioned, other.with_prompt("green"), rank=2).basis.prompt == "green"


def test_invalid_transports_are_rejected(direction: Direction, other: JointLatent) -> None:
    cases: list[tuple[dict[str, Any], str | None]] = [
        ({"feature": None}, None),
        ({"model_fingerprint": "other"}, None),
        *(({"settings": {**direction.settings, "steps": steps}}, None) for steps in (None, "ten", 0)),
        ({"settings": {**direction.settings, "site": "claen"}}, "clean"),
    ]
    for changes, message in cases:
        with pytest.raises(ConfigError, match=message):
            transport(dataclasses.replace(direction, **changes), other)
