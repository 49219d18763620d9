"""Directions survive their files exactly; whatever else lies in a file is refused in one line."""

import dataclasses
import json
import math
import struct
from collections.abc import Callable, Mapping
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
from latentedit.core.condition import Condition
from latentedit.core.errors import ConfigError, FileFormatError, OutputError
from latentedit.core.files.tensors import pack
from latentedit.directions.base import Calibration, Curvature, Direction
from latentedit.directions.direction_file import (
    MAX_FEATURE_NUMBERS,
    MAX_PREVIEW_BYTES,
    check_direction_output,
    load_direction,
    save_direction,
)
from latentedit.testing.gaussian_mixture import GaussianMixtureBackbone, example_mixture

PNG = b"\x89PNG\r\n\x1a\n"
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
NAME = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=200)
TEXTS = st.lists(TEXT, max_size=4).map(tuple)
NUMBER = st.floats(allow_nan=False, allow_infinity=False)
LEVEL = st.floats(0, 1)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | NUMBER | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


@st.composite
def floats(draw: st.DrawFn, *shape: int) -> Tensor:
    values = torch.tensor(list(draw(st.binary(min_size=4 * math.prod(shape), max_size=4 * math.prod(shape)))))
    numbers = values.to(torch.uint8).view(torch.float32).reshape(shape)
    return torch.where(numbers.isfinite(), numbers, -0.0)


@st.composite
def calibrations(draw: st.DrawFn) -> Calibration:
    scales = draw(st.lists(NUMBER, min_size=2, max_size=5, unique=True).map(sorted))
    ends = draw(st.tuples(NUMBER, NUMBER).map(sorted))
    return Calibration(
        arm=draw(NAME),
        level=draw(LEVEL),
        steps=draw(st.integers(1, 1000)),
        scales=tuple(scales),
        effects=tuple(draw(NUMBER) for _ in scales),
        lowest=draw(st.sampled_from([ends[0], -math.inf])),
        highest=draw(st.sampled_from([ends[1], math.inf])),
    )


def feature(*shape: int) -> Tensor:
    return torch.nn.functional.normalize(torch.arange(-1.0, math.prod(shape) - 1), dim=0).reshape(shape)


@st.composite
def directions(draw: st.DrawFn) -> Direction:
    batch, others, count = draw(st.tuples(st.integers(1, 3), st.booleans(), st.integers(0, 2)))
    rest = draw(st.lists(st.integers(1, 3), min_size=1, max_size=3))
    texts = draw(st.sampled_from([1, batch]))
    return Direction(
        z=draw(floats(1 if others else batch, *rest)),
        condition=Condition(tokens=draw(floats(texts, count, 2)), pooled=draw(floats(texts, count))),
        level=draw(LEVEL),
        method=draw(NAME),
        settings=draw(st.dictionaries(TEXT, PLAIN, max_size=4)),
        model_name=draw(NAME),
        model_fingerprint=draw(NAME),
        source_captions=draw(TEXTS),
        target_captions=draw(TEXTS),
        pictures=tuple(draw(st.lists(NAME, max_size=3))),
        calibration=draw(st.none() | calibrations()),
        licence=draw(TEXT),
        preview=draw(st.just(b"") | st.binary(max_size=20).map(PNG.__add__)),
        feature=draw(st.sampled_from([None, feature(1), feature(3), feature(2, 1, 2)])),
        notes=draw(TEXTS),
    )


def bits(direction: Direction) -> list[tuple[torch.dtype, list[int], bytes]]:
    parts = [direction.z, direction.condition.tokens, direction.condition.pooled]
    parts += [] if direction.feature is None else [direction.feature]
    return [(part.dtype, list(part.shape), part.contiguous().numpy().tobytes()) for part in parts]


def facts(direction: Direction) -> str:
    """All but tensors and curvature, as text: there 1 is not 1.0, nor -0.0 the same as 0.0."""
    names = {field.name for field in dataclasses.fields(direction)} - {"z", "condition", "curvature", "feature"}
    return repr({name: getattr(direction, name) for name in sorted(names)})


def example(model: GaussianMixtureBackbone | None = None, **changes: Any) -> Direction:
    made = Direction(
        z=torch.tensor([[1.0, -2.0]]),
        condition=Condition(tokens=torch.ones(1, 1, 2), pooled=torch.zeros(1, 0)),
        level=0.75,
        method="hsds",
        settings={"gamma": 0.5, "levels": [0.95, 0.3]},
        model_name="portraits" if model is None else model.name,
        model_fingerprint="0123456789abcdef" if model is None else model.fingerprint,
        source_captions=("a man",),
        target_captions=("a man, a hät",),
        pictures=("fedcba9876543210",),
        calibration=Calibration(
            arm="joint", level=0.75, steps=24, scales=(0.5, 1.0), effects=(0.25, 1.0), lowest=-math.inf, highest=1.5
        ),
        licence="CC-BY-4.0",
        preview=PNG + b"rest",
        feature=torch.tensor([[0.6, -0.8]]),
        notes=("a note",),
    )
    return dataclasses.replace(made, **changes)


TENSORS: dict[str, Tensor] = {
    "z": torch.tensor([[1.0, -2.0]]),
    "tokens": torch.ones(1, 1, 2),
    "pooled": torch.zeros(1, 0),
    "preview": torch.tensor(list(PNG + b"rest"), dtype=torch.uint8),
    "feature": torch.tensor([[0.6, -0.8]]),
}
SAID: dict[str, Any] = {
    "format": 1,
    "latentedit": latentedit.__version__,
    "level": 0.75,
    "method": "hsds",
    "settings": {"gamma": 0.5, "levels": [0.95, 0.3]},
    "model_name": "portraits",
    "model_fingerprint": "0123456789abcdef",
    "source_captions": ["a man"],
    "target_captions": ["a man, a hät"],
    "pictures": ["fedcba9876543210"],
    "calibration": {
        "arm": "joint",
        "level": 0.75,
        "steps": 24,
        "scales": [0.5, 1.0],
        "effects": [0.25, 1.0],
        "lowest": None,
        "highest": 1.5,
    },
    "licence": "CC-BY-4.0",
    "instructed": False,
    "notes": ["a note"],
}


def written(place: Path, tensors: Mapping[str, Tensor] = TENSORS, told: object = SAID) -> Path:
    """A file of the format, whatever it says."""
    text = told if isinstance(told, str) else json.dumps(told)
    place.write_bytes(pack(tensors, {"latentedit.direction": text}))
    return place


def refusal(path: Path) -> str:
    with pytest.raises(FileFormatError) as caught:
        load_direction(path)
    text = str(caught.value)
    assert text.startswith(f"{path} is ")
    assert text.isprintable()
    assert len(text.removeprefix(str(path))) < 300
    return text


@pytest.mark.nightly
@given(direction=directions())
def test_all_but_the_curvature_survives(tmp_path_factory: pytest.TempPathFactory, direction: Direction) -> None:
    place = tmp_path_factory.getbasetemp() / "any.safetensors"
    save_direction(direction, place)
    found = load_direction(place)
    assert bits(found) == bits(direction)
    assert facts(found) == facts(direction)
    assert found.fingerprint == direction.fingerprint
    data = place.read_bytes()
    save_direction(found, place)
    assert place.read_bytes() == data


def test_the_file_is_what_the_format_says(tmp_path: Path) -> None:
    save_direction(example(), tmp_path / "me.safetensors")
    with safetensors.safe_open(tmp_path / "me.safetensors", "pt") as file:
        told = file.metadata()
        found = {name: file.get_tensor(name) for name in TENSORS}
        assert set(file.keys()) == set(TENSORS)
    assert told.keys() == {"latentedit.direction"}
    assert json.loads(told["latentedit.direction"]) == SAID
    for name, tensor in TENSORS.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)


def test_a_file_that_others_wrote_is_read(tmp_path: Path) -> None:
    told = {"latentedit.direction": json.dumps(SAID), "format": "pt"}
    safetensors.torch.save_file(TENSORS, tmp_path / "theirs", told)
    found = load_direction(tmp_path / "theirs")
    assert facts(found) == facts(example())
    assert bits(found) == bits(example())


def test_tuples_become_lists_and_curvature_is_left_out(tmp_path: Path) -> None:
    ones = torch.ones(1)
    direction = example(
        settings=MappingProxyType({"levels": (0.9, (1, 2)), "judge": MappingProxyType({"a": ()})}),
        curvature=Curvature(rayleigh=ones, lowest=ones * torch.nan, negative_share=ones, fallback_share=ones),
    )
    save_direction(direction, tmp_path / "me.safetensors")
    found = load_direction(tmp_path / "me.safetensors")
    assert found.settings == {"levels": [0.9, [1, 2]], "judge": {"a": []}}
    assert found.curvature is None


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_tensors_are_float32_and_the_fingerprint_stays(tmp_path: Path, dtype: torch.dtype) -> None:
    grown = torch.full((3, 2), 1 / 3, dtype=dtype, requires_grad=True)
    shared = Condition(tokens=grown[:1, None], pooled=grown[:1])
    direction = example(z=grown.T.expand(2, 3), condition=shared)
    save_direction(direction, tmp_path / "me.safetensors")
    found = load_direction(tmp_path / "me.safetensors")
    assert found.z.dtype == found.condition.tokens.dtype == found.condition.pooled.dtype == torch.float32
    assert torch.equal(found.z, direction.z.detach().float())
    assert found.fingerprint == direction.fingerprint


def test_a_direction_goes_to_its_model_and_to_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, other = example_mixture(dimension=2), example_mixture(dimension=2, seed=1)
    save_direction(example(model), tmp_path / "me.safetensors")
    assert load_direction(tmp_path / "me.safetensors", model=model).z.device.type == "cpu"
    with pytest.raises(ConfigError) as caught:
        load_direction(tmp_path / "me.safetensors", model=other)
    assert model.fingerprint in str(caught.value)
    assert other.fingerprint in str(caught.value)
    monkeypatch.setattr(type(model), "device", torch.device("meta"))
    found = load_direction(tmp_path / "me.safetensors", model=model)
    parts = (found.z, found.condition.tokens, found.condition.pooled)
    assert [part.device.type for part in parts] == ["meta"] * 3


@pytest.mark.parametrize("name", ["me.pt", "me", "me.safetensors.png", ".safetensors"])
def test_other_endings_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(OutputError, match=r"ends in \.safetensors; '.*' does not\. Rename it"):
        save_direction(example(), tmp_path / name)
    with pytest.raises(OutputError, match="Rename it"):
        check_direction_output(tmp_path / name)
    check_direction_output(tmp_path / "me.SAFETENSORS")
    assert list(tmp_path.iterdir()) == []


def test_files_and_places_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="Create it first"):
        save_direction(example(), tmp_path / "nowhere" / "me.safetensors")
    with pytest.raises(FileFormatError, match="there is no such file"):
        load_direction(tmp_path / "me.safetensors")
    (tmp_path / "other").write_bytes(pack(TENSORS, {"format": "pt"}))
    assert "is no direction: it says nothing under 'latentedit.direction'" in refusal(tmp_path / "other")
    data = written(tmp_path / "whole").read_bytes()
    for length in (*range(0, len(data), 16), len(data) - 1):
        (tmp_path / "cut").write_bytes(data[:length])
        refusal(tmp_path / "cut")


def test_features_have_a_largest_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_FEATURE_NUMBERS > 3 * 1280 * 64 * 64  # the widest block of a U-Net, at the size of its input
    monkeypatch.setattr("latentedit.directions.direction_file.MAX_FEATURE_NUMBERS", 2)
    save_direction(example(), tmp_path / "me.safetensors")
    with pytest.raises(FileFormatError, match="feature is no float32 of length 1 with at most 2 numbers"):
        save_direction(example(feature=torch.full((3,), 3**-0.5)), tmp_path / "me.safetensors")


UNSOUND: dict[str, tuple[dict[str, Any], str]] = {
    "nan": ({"z": torch.tensor([[torch.nan, 0]])}, "'z' has numbers that are not finite"),
    "too large for float32": (
        {"z": torch.tensor([[1e300]], dtype=torch.float64)},
        "'z' has numbers that are not finite",
    ),
    "caption too long": ({"source_captions": ("ok", "x" * 10_001)}, "'source_captions.1': .* at most 10000 char"),
    "half a character": ({"notes": ("\ud800",)}, "'notes.0': input should be a valid string, unable to parse"),
    "half a character in the settings": ({"settings": {"a": "\ud800"}}, "it is no UTF-8"),
    "level of nan": ({"level": math.nan}, "'level': input should be a finite number"),
    "level above 1": ({"level": 1.5}, "'level': input should be less than or equal to 1"),
    "no model": ({"model_fingerprint": ""}, "'model_fingerprint': string should have at least 1"),
    "settings with infinity": ({"settings": {"a": [math.inf]}}, "'settings.a.*finite"),
    "settings with numbers as names": ({"settings": {"a": {1: 2}}}, "'settings.a.*valid string"),
    "settings with a tensor": ({"settings": {"a": torch.ones(1)}}, "'settings.a': input was not a valid json value"),
    "settings with a number of 101 digits": ({"settings": {"a": 10**100}}, "a number of 101 digits"),
    "settings of 2 MB": ({"settings": {"a": "x" * 2_000_000}}, "with a header of 2"),
    "preview that is no PNG": ({"preview": b"GIF89a"}, "no PNG file of at most 1000000 bytes"),
    "preview above 1 MB": ({"preview": PNG + bytes(MAX_PREVIEW_BYTES - 7)}, "PNG file of at most 1000000 bytes"),
    "feature of no length": ({"feature": torch.zeros(3)}, "no float32 of length 1 with at most 16000000 numbers"),
    "feature that is a number": ({"feature": torch.tensor(1.0)}, "no float32 of length 1"),
    "feature without numbers": ({"feature": torch.zeros(0, 2)}, "no float32 of length 1"),
    "latents without axes": (
        {"z": torch.zeros(1)},
        r"z \[1\], tokens \[1, 1, 2\], pooled \[1, 0\] are no z .* of one batch",
    ),
}


@pytest.mark.parametrize("case", UNSOUND)
def test_what_could_not_be_read_is_not_written(tmp_path: Path, case: str) -> None:
    changes, words = UNSOUND[case]
    with pytest.raises(FileFormatError, match=words) as caught:
        save_direction(example(**changes), tmp_path / "me.safetensors")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("field", ["scales", "effects", "lowest", "highest", "level"])
def test_calibrations_with_nan_are_not_written(tmp_path: Path, field: str) -> None:
    known = example().calibration
    assert known is not None
    bad = dataclasses.replace(
        known, **{field: math.nan if isinstance(getattr(known, field), float) else (0.0, math.nan)}
    )
    with pytest.raises(FileFormatError, match=f"'calibration.{field}.*finite"):
        save_direction(example(calibration=bad), tmp_path / "me.safetensors")


@given(batches=st.tuples(*[st.integers(0, 3)] * 3))
def test_batches_are_one_or_the_same(tmp_path_factory: pytest.TempPathFactory, batches: tuple[int, int, int]) -> None:
    z, tokens, pooled = batches
    tensors = {"z": torch.zeros(z, 2), "tokens": torch.zeros(tokens, 1, 2), "pooled": torch.zeros(pooled, 3)}
    place = written(tmp_path_factory.getbasetemp() / "batches", tensors)
    if batches in [(1, 1, 1), (1, 2, 2), (1, 3, 3), (2, 1, 1), (3, 1, 1), (2, 2, 2), (3, 3, 3)]:
        assert len(load_direction(place)) == z
    else:
        assert "of one batch" in refusal(place)


def changed(**changes: object) -> Callable[[], dict[str, Any]]:
    return lambda: {"told": SAID | changes}


def calibrated(**changes: object) -> Callable[[], dict[str, Any]]:
    return changed(calibration=SAID["calibration"] | changes)


def tensors(**changes: Tensor) -> Callable[[], dict[str, Any]]:
    return lambda: {"tensors": TENSORS | changes}


HOSTILE: dict[str, tuple[Callable[[], dict[str, Any]], str]] = {
    "no JSON": (
        lambda: {"told": "{'a': 1}"},
        "under 'latentedit.direction', it is no JSON from line 1, column 2 on",
    ),
    "no object": (lambda: {"told": "[]"}, "it is no JSON object"),
    "a name twice": (lambda: {"told": '{"format": 1, "format": 1}'}, "it has the name 'format' twice"),
    "nan": (lambda: {"told": json.dumps(SAID | {"level": math.nan})}, "it says NaN"),
    "infinity by its size": (lambda: {"told": json.dumps(SAID).replace("0.75", "1e999")}, "'level': .*finite"),
    "infinite setting": (lambda: {"told": json.dumps(SAID).replace("0.95", "1e999")}, "'settings.levels.*finite"),
    "newer format": (changed(format=7), "of format 7, which a newer.*Update latentedit"),
    "newer format with other fields": (lambda: {"told": {"format": 2, "new": 1}}, "of format 2, which"),
    "older format": (changed(format=0), "'format': input should be greater than or equal to 1"),
    "format as text": (changed(format="2"), "'format': input should be a valid integer"),
    "format that is true": (changed(format=True), "'format': input should be a valid integer"),
    "no format": (lambda: {"told": {}}, "'format': field required"),
    "one field more": (changed(**{"evil\n\x1b[2J": 1}), r"'evil\\n\\x1b\[2J': extra inputs are not permitted"),
    "one field more with a long name": (changed(**{"x" * 1000: 1}), "'xxx"),
    "level as text": (changed(level="0.5"), "'level': input should be a valid number"),
    "level that is true": (changed(level=True), "'level': input should be a valid number"),
    "level below 0": (changed(level=-0.1), "'level': input should be greater"),
    "method that is null": (changed(method=None), "'method': input should be a valid string"),
    "long method": (changed(method="x" * 201), "'method': string should have at most 200"),
    "settings that are a list": (changed(settings=[]), "'settings': input should be a valid dictionary"),
    "deep settings": (
        lambda: {"told": json.dumps(SAID).replace("0.95", "[" * 20_000 + "]" * 20_000)},
        "it is nested too deeply",
    ),
    "caption as text": (changed(source_captions="a man"), "'source_captions': input should be a valid tuple"),
    "caption that is a number": (changed(target_captions=[1]), "'target_captions.0': input should be a valid string"),
    "long caption": (changed(target_captions=["x" * 10_001]), "'target_captions.0': string should have at most 10000"),
    "too many captions": (changed(source_captions=[""] * 10_001), "'source_captions': tuple should have at most 10000"),
    "half a character": (changed(licence="\ud800"), "it is no UTF-8"),
    "one field more of the calibration": (calibrated(evil=1), "'calibration.evil': extra inputs"),
    "effects missing": (calibrated(effects=[0.1, 0.2, 0.3]), "'calibration': one effect a scale is needed"),
    "scales that fall": (calibrated(scales=[1.0, 0.5]), "'calibration': scales have to rise"),
    "one scale": (calibrated(scales=[1], effects=[1]), "'calibration.scales': tuple should have at least 2"),
    "range turned around": (calibrated(lowest=2, highest=-2), "'calibration': lowest has to be at most highest"),
    "steps without end": (calibrated(steps=10**9), "'calibration.steps': input should be less"),
    "no z": (lambda: {"tensors": {"pooled": TENSORS["pooled"]}}, "it lacks z, tokens"),
    "another tensor": (tensors(evil=torch.ones(1)), "it holds a tensor 'evil'"),
    "half precision": (tensors(z=torch.ones(1, 2).half()), "z, tokens, pooled are not in float32"),
    "preview in floats": (tensors(preview=torch.ones(9)), "no PNG file of at most 1000000 bytes"),
    "preview in rows": (tensors(preview=TENSORS["preview"].reshape(2, 6)), "its preview is no PNG"),
    "empty preview": (tensors(preview=TENSORS["preview"][:0]), "its preview is no PNG"),
    "preview of another kind": (tensors(preview=TENSORS["preview"].flip(0)), "its preview is no PNG"),
    "feature in half precision": (tensors(feature=torch.ones(1).half()), "no float32 of length 1"),
    "long feature": (tensors(feature=torch.ones(2)), "no float32 of length 1"),
    "text with one axis less": (tensors(tokens=torch.ones(1, 2)), r"tokens \[b, n, d\].* of one batch"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_files_are_refused(tmp_path: Path, case: str) -> None:
    make, words = HOSTILE[case]
    place = written(tmp_path / "bad.safetensors", **make())
    with pytest.raises(FileFormatError, match=words):
        load_direction(place)
    refusal(place)


@given(data=st.data())
def test_flipped_bits_are_refused_or_give_something_sound(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    place = written(tmp_path_factory.getbasetemp() / "flipped.safetensors")
    whole = bytearray(place.read_bytes())
    (length,) = struct.unpack_from("<Q", whole)
    if data.draw(st.booleans()):  # digits and letters for others of their kind get furthest
        index = data.draw(st.integers(8, 7 + length))
        whole[index] = data.draw(st.sampled_from(list(b'0123456789aAzZ".-+e ,:[]{}\\')))
    else:
        whole[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    place.write_bytes(whole)
    try:
        found = load_direction(place)
    except FileFormatError:
        refusal(place)
        return
    assert all(bool(part.isfinite().all()) for part in (found.z, found.condition.tokens, found.condition.pooled))
    assert 0 <= found.level <= 1
    save_direction(found, place)
    assert facts(load_direction(place)) == facts(found)


def test_a_mask_of_the_text_survives(tmp_path: Path) -> None:
    """Without it, what is added to a text would have its padding attended to."""
    mask = torch.tensor([[True, True, False], [True, False, False]])
    text = Condition(tokens=torch.ones(2, 3, 2), pooled=torch.zeros(2, 0), mask=mask)
    direction = example(z=torch.ones(2, 2), condition=text)
    for one, expected in ((direction, mask), (direction.mean(), mask[:1])):
        save_direction(one, tmp_path / "me.safetensors")
        found = load_direction(tmp_path / "me.safetensors").condition.mask
        assert found is not None
        assert torch.equal(found, expected)


@pytest.mark.parametrize("mask", [torch.ones(1, 2), torch.ones(1, 2, dtype=torch.uint8), torch.tensor([[2]])])
def test_a_mask_that_is_none_is_refused(tmp_path: Path, mask: Tensor) -> None:
    kept = mask if mask.dtype == torch.float32 else mask.to(torch.uint8)
    assert "its mask is not one number 0 or 1 a token" in refusal(
        written(tmp_path / "bad.safetensors", {**TENSORS, "mask": kept})
    )
