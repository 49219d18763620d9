"""Directions as values: the way back, one picture's, the mean, and what tells one from another."""

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.core.errors import ConfigError
from latentedit.core.rng import stream
from latentedit.directions.direction import Calibration, Curvature, Direction


def full(**changes: Any) -> Direction:
    """Of three pictures, with every field filled."""
    generator = stream(0, "tests")
    z, tokens, pooled = (
        torch.randn(shape, generator=generator, dtype=torch.float32) for shape in ((3, 2, 4, 4), (3, 5, 6), (3, 7))
    )
    z[0, 0, 0, 0] = tokens[1, 0, 0] = pooled[2, 0] = 0.0
    curvature = Curvature(
        rayleigh=torch.ones(3), lowest=torch.ones(3), negative_share=torch.zeros(3), fallback_share=torch.zeros(3)
    )
    calibration = Calibration(
        arm="joint", level=0.7, steps=24, scales=(0.0, 1.0), effects=(0.0, 1.0), lowest=-1.0, highest=2.0
    )
    fields: dict[str, Any] = {
        "z": z,
        "condition": Condition(tokens=tokens, pooled=pooled),
        "level": 0.8,
        "method": "hsds",
        "settings": {"seed": 3},
        "model_name": "m",
        "model_fingerprint": "f",
        "source_captions": ("a", "b", "c"),
        "target_captions": ("x", "y", "z"),
        "pictures": ("p", "q", "r"),
        "curvature": curvature,
        "calibration": calibration,
        "licence": "CC0-1.0",
        "preview": b"png",
        "feature": torch.randn(4, 2, generator=generator),
        "notes": ("a note",),
    }
    return Direction(**(fields | changes))


def tensors(direction: Direction) -> list[Tensor]:
    parts = (direction.z, direction.condition.tokens, direction.condition.pooled, direction.feature)
    return [part for part in parts if part is not None]


def one_for_all(direction: Direction) -> Direction:
    """The same displacements with one text for them."""
    return dataclasses.replace(direction, condition=direction.condition[:1])


def unchanged(one: Direction, other: Direction, *, but: tuple[str, ...]) -> bool:
    """Whether all fields but these are the same."""
    names = {field.name for field in dataclasses.fields(Direction)} - {"z", "condition", *but}
    return all(getattr(one, name) is getattr(other, name) for name in names)


def test_the_way_back_is_the_negative_with_the_captions_exchanged() -> None:
    direction = full()
    back = -direction
    assert back.fingerprint != (-back).fingerprint == direction.fingerprint  # zeros too, whose sign is in the bits
    for one, other in zip(tensors(back), tensors(direction), strict=True):
        assert torch.equal(one, -other)
    assert (back.source_captions, back.target_captions) == (direction.target_captions, direction.source_captions)
    assert (back.curvature, back.calibration, back.preview) == (None, None, b"")
    assert (-full(feature=None)).feature is None
    changed = ("source_captions", "target_captions", "curvature", "calibration", "preview", "feature")
    assert unchanged(back, direction, but=changed)


def test_the_fingerprint_sees_model_shapes_and_the_last_bit_of_tensors_and_nothing_else() -> None:
    direction = full()
    known = direction.fingerprint
    for part, place in enumerate(((0, 1, 2, 3), (2, 4, 5), (1, 6))):
        nudged = full()
        values = tensors(nudged)[part]
        values[place] = torch.nextafter(values[place], torch.tensor(torch.inf))
        assert nudged.fingerprint != known
    assert len(known) == 16
    assert int(known, 16) >= 0
    assert full(model_fingerprint="g").fingerprint != known
    assert full(z=direction.z.reshape(3, 4, 2, 4)).fingerprint != known
    assert full(model_name="n", level=0.1, settings={}, target_captions=(), preview=b"").fingerprint == known
    turned = full(z=direction.z.transpose(2, 3).contiguous().transpose(2, 3))  # other strides, same numbers
    assert turned.fingerprint == known
    assert full(z=direction.z.to(torch.float64)).fingerprint == known


@pytest.mark.parametrize("index", [0, 1, 2])
def test_the_row_of_a_picture_is_its_own(index: int) -> None:
    direction = full()
    row = direction.row(index)
    assert len(row) == len(row.condition) == 1
    for one, rows in zip(tensors(row)[:3], tensors(direction)[:3], strict=True):
        assert torch.equal(one[0], rows[index])
    words = (row.source_captions, row.target_captions, row.pictures)
    assert words == (("abc"[index],), ("xyz"[index],), ("pqr"[index],))
    assert row.curvature is None
    assert unchanged(row, direction, but=("source_captions", "target_captions", "pictures", "curvature"))
    shared = one_for_all(direction).row(index)
    assert torch.equal(shared.condition.tokens[0], direction.condition.tokens[0])
    assert row.row(2) is row


def test_the_mean_is_one_direction_for_any_picture() -> None:
    direction = full()
    mean = direction.mean()
    assert len(mean) == len(mean.condition) == 1
    for got, rows in zip(tensors(mean), tensors(direction)[:3], strict=True):
        assert torch.allclose(got[0], (rows[0] + rows[1] + rows[2]) / 3, rtol=1e-5, atol=1e-6)
    assert (mean.curvature, mean.feature) == (None, None)
    assert unchanged(mean, direction, but=("curvature", "feature"))
    assert mean.mean() is mean
    assert torch.equal(one_for_all(direction).mean().condition.tokens, direction.condition.tokens[:1])
    rows = full(z=direction.z[:1].expand(3, -1, -1, -1)).mean()
    assert torch.allclose(rows.z, direction.z[:1], rtol=1e-6)


def test_another_models_direction_is_named_and_lengths_are_each_pictures() -> None:
    with pytest.raises(ConfigError, match=r"another model, 'm' \(f\), than 'portraits' \(0123\)"):
        full().check_model("portraits", "0123")
    full().check_model("a copy under another name", "f")
    direction = full(z=torch.tensor([[[3.0, 0.0], [0.0, 4.0]], [[0.0, 0.0], [0.0, 0.0]]]))
    assert direction.length.tolist() == [5, 0]
