"""Directions as values and as files."""

import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import safetensors
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import latentedit
from latentedit.core.errors import ConfigError, FileFormatError, OutputError
from latentedit.encoding.captions.change import Change
from latentedit.identification.description import describe
from latentedit.identification.direction import MAX_PREVIEW_BYTES, Direction, EffectCalibration, check_direction_output
from latentedit.numerics.condition import Condition
from latentedit.numerics.rng import stream
from latentedit.numerics.tensor_files import pack_tensors
from tests.editors.models import with_members
from tests.testing.gaussian_mixture import GaussianMixtureBackbone, example_mixture

PNG = b"\x89PNG\r\n\x1a\n"
CALIBRATION = EffectCalibration(
    arm="joint", level=0.75, steps=24, scales=(0.5, 1.0), effects=(0.25, 1.0), lowest=-0.5, highest=1.5
)


def example(model: GaussianMixtureBackbone | None = None, **changes: Any) -> Direction:
    """A direction of one image, with every field set."""
    fields: dict[str, Any] = {
        "z": torch.tensor([[1.0, -2.0]]),
        "condition": Condition(tokens=torch.ones(1, 1, 2), pooled=torch.zeros(1, 0)),
        "level": 0.75,
        "method": "hsds",
        "settings": {"gamma": 0.5, "levels": [0.95, 0.3]},
        "model_name": "portraits" if model is None else model.name,
        "model_fingerprint": "0123456789abcdef" if model is None else model.fingerprint,
        "source_captions": ("a man",),
        "target_captions": ("a man, a hät",),
        "images": ("fedcba9876543210",),
        "calibration": CALIBRATION,
        "license": "CC-BY-4.0",
        "preview": PNG + b"rest",
        "feature": torch.tensor([[0.6, -0.8]]),
        "notes": ("a note",),
    }
    return Direction(**(fields | changes))


def full_direction(**changes: Any) -> Direction:
    """A direction for three images, with random numbers and some zeros."""
    generator, shapes = stream(0, "tests"), ((3, 2, 4, 4), (3, 5, 6), (3, 7), (4, 2))
    z, tokens, pooled, feature = (torch.randn(one, generator=generator, dtype=torch.float32) for one in shapes)
    z[0, 0, 0, 0] = tokens[1, 0, 0] = pooled[2, 0] = 0.0
    texts = {"source_captions": tuple("abc"), "target_captions": tuple("xyz"), "images": tuple("pqr")}
    fields = {"z": z, "condition": Condition(tokens=tokens, pooled=pooled), "feature": feature, **texts}
    return example(**(fields | changes))


def tensors(direction: Direction) -> list[Tensor]:
    parts = (direction.z, direction.condition.tokens, direction.condition.pooled, direction.feature)
    return [part for part in parts if part is not None]


def with_shared_text(direction: Direction) -> Direction:
    """The same displacements with one text for all."""
    return dataclasses.replace(direction, condition=direction.condition[:1])


def assert_same_fields(one: Direction, other: Direction, *excluded: str) -> None:
    """All other fields are the same objects."""
    for name in {field.name for field in dataclasses.fields(Direction)} - {"z", "condition", *excluded}:
        assert getattr(one, name) is getattr(other, name), name


def test_negation_swaps_the_captions_and_keeps_exact_zeros() -> None:
    direction = full_direction()
    negated = -direction
    assert negated.fingerprint != (-negated).fingerprint == direction.fingerprint  # including the sign bits of zeros
    for one, other in zip(tensors(negated), tensors(direction), strict=True):
        assert torch.equal(one, -other)
    assert (negated.source_captions, negated.target_captions) == (direction.target_captions, direction.source_captions)
    assert (negated.calibration, negated.preview) == (None, b"")
    assert (-full_direction(feature=None)).feature is None
    assert_same_fields(negated, direction, "source_captions", "target_captions", "calibration", "preview", "feature")


def test_to_moves_every_tensor() -> None:
    moved = full_direction().to(torch.device("meta"))
    assert [part.device.type for part in tensors(moved)] == ["meta"] * 4
    assert full_direction(feature=None).to(torch.device("meta")).feature is None


def test_the_fingerprint_depends_only_on_model_shapes_and_exact_tensors() -> None:
    direction = full_direction()
    known = direction.fingerprint
    for part, position in enumerate(((0, 1, 2, 3), (2, 4, 5), (1, 6))):
        nudged = full_direction()
        values = tensors(nudged)[part]
        values[position] = torch.nextafter(values[position], torch.tensor(torch.inf))
        assert nudged.fingerprint != known
    assert len(known) == 16
    assert int(known, 16) >= 0
    assert full_direction(model_fingerprint="g").fingerprint != known
    assert full_direction(z=direction.z.reshape(3, 4, 2, 4)).fingerprint != known
    assert full_direction(model_name="n", level=0.1, settings={}, target_captions=(), preview=b"").fingerprint == known
    strided = full_direction(z=direction.z.transpose(2, 3).contiguous().transpose(2, 3))  # other strides, same values
    assert strided.fingerprint == known
    assert full_direction(z=direction.z.to(torch.float64)).fingerprint == known


@pytest.mark.parametrize("index", [0, 1, 2])
def test_row_returns_the_direction_of_one_image(index: int) -> None:
    direction = full_direction()
    row = direction.row(index)
    assert len(row) == len(row.condition) == 1
    for one, rows in zip(tensors(row)[:3], tensors(direction)[:3], strict=True):
        assert torch.equal(one[0], rows[index])
    captions = (row.source_captions, row.target_captions, row.images)
    assert captions == (("abc"[index],), ("xyz"[index],), ("pqr"[index],))
    assert_same_fields(row, direction, "source_captions", "target_captions", "images")
    shared = with_shared_text(direction).row(index)
    assert torch.equal(shared.condition.tokens[0], direction.condition.tokens[0])
    assert row.row(2) is row


def test_mean_averages_the_rows_into_one_direction() -> None:
    direction = full_direction()
    mean = direction.mean()
    assert len(mean) == len(mean.condition) == 1
    for got, rows in zip(tensors(mean), tensors(direction)[:3], strict=True):
        assert torch.allclose(got[0], (rows[0] + rows[1] + rows[2]) / 3, rtol=1e-5, atol=1e-6)
    assert mean.feature is None
    assert_same_fields(mean, direction, "feature")
    assert mean.mean() is mean
    assert torch.equal(with_shared_text(direction).mean().condition.tokens, direction.condition.tokens[:1])
    rows = full_direction(z=direction.z[:1].expand(3, -1, -1, -1)).mean()
    assert torch.allclose(rows.z, direction.z[:1], rtol=1e-6)


def test_other_models_are_rejected_and_lengths_are_per_image() -> None:
    with pytest.raises(ConfigError):
        full_direction().check_model("portraits", "0123")
    full_direction().check_model("a copy under another name", "0123456789abcdef")
    direction = full_direction(z=torch.tensor([[[3.0, 0.0], [0.0, 4.0]], [[0.0, 0.0], [0.0, 0.0]]]))
    assert direction.length.tolist() == [5, 0]


def tensor_bytes(direction: Direction) -> list[tuple[torch.dtype, list[int], bytes]]:
    return [(one.dtype, list(one.shape), one.contiguous().numpy().tobytes()) for one in tensors(direction)]


def fields_as_text(direction: Direction) -> str:
    """All fields but tensors, as text, which distinguishes 1 from 1.0 and -0.0 from 0.0."""
    names = {field.name for field in dataclasses.fields(direction)} - {"z", "condition", "feature"}
    return repr({name: getattr(direction, name) for name in sorted(names)})


PREVIEW = torch.tensor(list(PNG + b"rest"), dtype=torch.uint8)
TENSORS: dict[str, Tensor] = {
    "z": torch.tensor([[1.0, -2.0]]),
    "tokens": torch.ones(1, 1, 2),
    "pooled": torch.zeros(1, 0),
    "preview": PREVIEW,
    "feature": torch.tensor([[0.6, -0.8]]),
}
METADATA: dict[str, Any] = {"format": 1, "latentedit": latentedit.__version__} | {
    name: value for name, value in dataclasses.asdict(example()).items() if name not in (*TENSORS, "condition")
}
METADATA = json.loads(json.dumps(METADATA))


def write_direction(path: Path, tensors: Mapping[str, Tensor] = TENSORS, metadata: object = METADATA) -> Path:
    """Write a direction file with any tensors and metadata."""
    text = metadata if isinstance(metadata, str) else json.dumps(metadata)
    path.write_bytes(pack_tensors(tensors, {"latentedit.direction": text}))
    return path


def test_saved_files_have_the_documented_tensors_and_metadata(tmp_path: Path) -> None:
    path = tmp_path / "me.safetensors"
    example().save(path)
    with safetensors.safe_open(path, "pt") as file:
        metadata = file.metadata()
        found = {name: file.get_tensor(name) for name in TENSORS}
        assert set(file.keys()) == set(TENSORS)
    assert metadata.keys() == {"latentedit.direction"}
    assert json.loads(metadata["latentedit.direction"]) == METADATA
    made = {"format", "latentedit", "level", "method", "settings", "model_name", "model_fingerprint", "calibration"}
    assert METADATA.keys() == made | {"source_captions", "target_captions", "images", "license", "instructed", "notes"}
    for name, tensor in TENSORS.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)
    data = path.read_bytes()
    Direction.load(path).save(path)
    assert path.read_bytes() == data


def test_files_written_by_safetensors_are_read(tmp_path: Path) -> None:
    metadata = {"latentedit.direction": json.dumps(METADATA), "format": "pt"}
    safetensors.torch.save_file(TENSORS, tmp_path / "theirs", metadata)
    found = Direction.load(tmp_path / "theirs")
    assert fields_as_text(found) == fields_as_text(example())
    assert tensor_bytes(found) == tensor_bytes(example())


EXTREMES = EffectCalibration(
    arm="text", level=1.0, steps=1, scales=(-1.0, 0.1), effects=(-0.0, 1e300), lowest=-1e-300, highest=1e300
)


@pytest.mark.parametrize(
    "changes",
    [
        {"z": torch.tensor([[1.0], [-0.0], [1e-45]]), "feature": torch.ones(2, 1, 2) / 2, "instructed": True},
        {"condition": Condition(tokens=torch.ones(2, 0, 3), pooled=torch.ones(2, 1) / 3), "settings": {}},
        {"preview": b"", "feature": None, "calibration": None, "images": (), "license": "", "level": 0.0},
        {"calibration": EXTREMES, "level": 1.0, "settings": {"\u202e": [None, True, 1, 1.0, -0.0, {"a": []}]}},
    ],
)
def test_all_fields_survive_a_round_trip(tmp_path: Path, changes: dict[str, Any]) -> None:
    direction = example(**changes)
    direction.save(tmp_path / "any.safetensors")
    found = Direction.load(tmp_path / "any.safetensors")
    assert tensor_bytes(found) == tensor_bytes(direction)
    assert fields_as_text(found) == fields_as_text(direction)
    assert found.fingerprint == direction.fingerprint


def test_saving_casts_to_float32_and_turns_tuples_into_lists(tmp_path: Path) -> None:
    """The fingerprint does not change."""
    matrix = torch.full((3, 2), 1 / 3, dtype=torch.float64, requires_grad=True)
    shared = Condition(tokens=matrix[:1, None], pooled=matrix[:1])
    settings = MappingProxyType({"levels": (0.9, (1, 2)), "judge": MappingProxyType({"a": ()})})
    direction = example(z=matrix.T.expand(2, 3), condition=shared, settings=settings)
    direction.save(tmp_path / "me.safetensors")
    found = Direction.load(tmp_path / "me.safetensors")
    assert found.settings == {"levels": [0.9, [1, 2]], "judge": {"a": []}}
    assert found.z.dtype == found.condition.tokens.dtype == found.condition.pooled.dtype == torch.float32
    assert torch.equal(found.z, direction.z.detach().float())
    assert found.fingerprint == direction.fingerprint


def test_load_rejects_other_models_and_moves_to_the_models_device(tmp_path: Path) -> None:
    model, other = example_mixture(dimension=2), example_mixture(dimension=2, seed=1)
    example(model).save(tmp_path / "me.safetensors")
    assert Direction.load(tmp_path / "me.safetensors", model=model).z.device.type == "cpu"
    with pytest.raises(ConfigError, match=other.fingerprint):
        Direction.load(tmp_path / "me.safetensors", model=other)
    on_meta = with_members(model, device=torch.device("meta"))
    found = Direction.load(tmp_path / "me.safetensors", model=on_meta)
    parts = (found.z, found.condition.tokens, found.condition.pooled)
    assert [part.device.type for part in parts] == ["meta"] * 3


def test_the_mask_of_the_text_survives_a_round_trip(tmp_path: Path) -> None:
    """Without it, the padding of an added text would be attended to."""
    mask = torch.tensor([[True, True, False], [True, False, False]])
    text = Condition(tokens=torch.ones(2, 3, 2), pooled=torch.zeros(2, 0), mask=mask)
    direction = example(z=torch.ones(2, 2), condition=text)
    for one, expected in ((direction, mask), (direction.mean(), mask[:1])):
        one.save(tmp_path / "me.safetensors")
        found = Direction.load(tmp_path / "me.safetensors").condition.mask
        assert found is not None
        assert torch.equal(found, expected)


def test_the_ending_is_appended_and_missing_folders_are_rejected(tmp_path: Path) -> None:
    assert check_direction_output(tmp_path / "me.SAFETENSORS") == tmp_path / "me.SAFETENSORS"
    assert check_direction_output(tmp_path / "me.pt") == tmp_path / "me.pt.safetensors"
    for write in (lambda path: example().save(path), check_direction_output):
        with pytest.raises(OutputError):
            write(tmp_path / "nowhere" / "me.safetensors")
    assert list(tmp_path.iterdir()) == []
    assert [example().save(tmp_path / "me")] == [*tmp_path.iterdir()] == [tmp_path / "me.safetensors"]
    (tmp_path / "other").write_bytes(pack_tensors(TENSORS, {"format": "pt"}))
    with pytest.raises(FileFormatError):
        Direction.load(tmp_path / "other")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"z": torch.tensor([[1e300]], dtype=torch.float64)}, "'z'"),
        ({"notes": ("\ud800",)}, "UTF-8"),
        ({"settings": {"a": "\ud800"}}, "UTF-8"),
        ({"settings": {"a": torch.ones(1)}}, "tensor([1.])"),
        ({"settings": {"a": "x" * 2_000_000}}, ""),
        ({"level": math.nan}, "NaN"),
        ({"level": 1.5}, "'level'"),
        ({"preview": PNG + bytes(MAX_PREVIEW_BYTES - 7)}, "1000000 bytes"),
        ({"calibration": dataclasses.replace(EXTREMES, lowest=math.nan)}, "NaN"),
        ({"calibration": dataclasses.replace(EXTREMES, lowest=2.0, highest=1.0)}, "'calibration'"),
    ],
)
def test_directions_that_could_not_be_loaded_are_not_saved(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(FileFormatError) as caught:
        example(**changes).save(tmp_path / "me.safetensors")
    assert message in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@given(batches=st.tuples(*[st.integers(0, 3)] * 3))
def test_batch_sizes_must_be_equal_or_one(
    tmp_path_factory: pytest.TempPathFactory, batches: tuple[int, int, int]
) -> None:
    z, tokens, pooled = batches
    tensors = {"z": torch.zeros(z, 2), "tokens": torch.zeros(tokens, 1, 2), "pooled": torch.zeros(pooled, 3)}
    path = write_direction(tmp_path_factory.getbasetemp() / "batches", tensors)
    if batches in [(1, 1, 1), (1, 2, 2), (1, 3, 3), (2, 1, 1), (3, 1, 1), (2, 2, 2), (3, 3, 3)]:
        assert len(Direction.load(path)) == z
    else:
        with pytest.raises(FileFormatError):
            Direction.load(path)


def calibrated(**changes: object) -> dict[str, object]:
    return {"calibration": METADATA["calibration"] | changes}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        *(({"format": value}, f"another version of latentedit: it has the format {value}") for value in (0, 2)),
        ({"format": "2"}, "'format'"),
        *(({"level": value}, "'level'") for value in (-0.1, 1.1)),
        ({"evil\n\x1b[2J": 1}, r"'evil\n\x1b[2J'"),
        ({"model_fingerprint": ""}, "'model_fingerprint'"),
        ({"target_captions": ["x" * 10_001]}, "'target_captions.0'"),
        (calibrated(evil=1), "'calibration.evil'"),
        (calibrated(effects=[0.1, 0.2, 0.3]), "'calibration'"),
        *((calibrated(scales=[1.0, last]), "'calibration'") for last in (0.5, 1.0)),
        (calibrated(scales=[1], effects=[1]), "'calibration.scales'"),
        (calibrated(lowest=2, highest=-2), "'calibration'"),
        *((calibrated(steps=value), "'calibration.steps'") for value in (0, 10**9)),
    ],
)
def test_metadata_is_validated(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(FileFormatError) as caught:
        Direction.load(write_direction(tmp_path / "bad", metadata=METADATA | changes))
    assert message in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("name", sorted(METADATA))
def test_every_field_is_required(tmp_path: Path, name: str) -> None:
    metadata = {field: value for field, value in METADATA.items() if field != name}
    with pytest.raises(FileFormatError, match=f"'{name}'"):
        Direction.load(write_direction(tmp_path / "bad", metadata=metadata))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"evil": torch.ones(1)}, "'evil'"),
        ({"z": torch.ones(1, 2).half()}, "float32"),
        ({"z": torch.zeros(1)}, "z [1], tokens [1, 1, 2], pooled [1, 0]"),
        ({"tokens": torch.ones(1, 2)}, "tokens [1, 2]"),
        *(({"preview": preview}, "preview") for preview in (torch.ones(9), PREVIEW[:0])),
        *(
            ({"feature": feature}, "feature")
            for feature in (torch.ones(1).half(), torch.ones(2), torch.tensor(1.0), torch.zeros(0, 2))
        ),
        *(
            ({"mask": mask}, "mask")
            for mask in (torch.ones(1, 1), torch.ones(1, 2).byte(), 2 * torch.ones(1, 1).byte())
        ),
    ],
)
def test_tensors_are_validated(tmp_path: Path, changes: dict[str, Tensor], message: str) -> None:
    with pytest.raises(FileFormatError) as caught:
        Direction.load(write_direction(tmp_path / "bad", {**TENSORS, **changes}))
    assert message in str(caught.value)
    with pytest.raises(FileFormatError, match="z, tokens"):
        Direction.load(write_direction(tmp_path / "bad", {"pooled": TENSORS["pooled"]}))
    with pytest.raises(FileFormatError):
        Direction.load(write_direction(tmp_path / "bad", metadata="[]"))


def described(label: str, **changes: Any) -> str:
    return dict(describe(example(**changes)))[label]


def test_sizes_are_described_and_unknown_fields_are_omitted() -> None:
    shapes: dict[str, Any] = {
        "z": torch.zeros(2, 16, 8, 8),
        "condition": Condition(tokens=torch.zeros(1, 64, 256), pooled=torch.zeros(1, 128)),
    }
    bare = Direction(**shapes, level=1.0, method="difference", settings={}, model_name="m", model_fingerprint="f")
    rows = dict(describe(bare))
    assert rows["direction"] == bare.fingerprint
    assert "; one for each of 2 images; 74.2 kB" in rows["size"]
    assert 4 * (2 * 16 * 64 + 64 * 256 + 128) == 74_240
    assert set(dict(describe(example()))) - set(rows) == {"settings", "preview", "note"}


def test_changes_settings_and_calibration_are_printable() -> None:
    change = described("change", source_captions=("a man, a smile",), target_captions=("a man, a sad look",))
    assert Change.parse(change).apply("a woman, a smile, a hat") == "a woman, a sad look, a hat"
    kinds = {"a": None, "b": True, "c": {"d": 1, "e": [0.1, "x"]}, "f": (), "g": {}}
    assert described("settings", settings=kinds) == "a none, b True, c (d 1, e [0.1, x]), f [], g ()"
    assert described("preview", preview=PNG + bytes(1492)) == "PNG, 1.5 kB"
    assert described("license", license="free\n\x1b[2J\u202eevil") == "free [2J evil"
    assert described("license", license="x" * 400) == "x" * 300 + "..."
    limited = dataclasses.replace(CALIBRATION, highest=1.25)
    assert described("strength", calibration=limited).startswith("from -0.50 up to 1.25 without damage")
