"""Composition of several directions, against closed forms and NumPy."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from latentedit.core.errors import ConfigError, ShapeError
from latentedit.identification.composition import Combine, compose, cross_talk, merged, named
from latentedit.identification.direction import Direction
from latentedit.numerics.condition import Condition

COMBINES: tuple[Combine, ...] = ("sum", "inverse", "projection")
SEEDS = st.integers(0, 2**32)
STRENGTHS = st.sampled_from([-2.0, -0.5, 0.0, 0.25, 1.0, 3.0])


def direction(*rows: Any, index: int = 0, **fields: Any) -> Direction:
    """One displacement for each row; its text is the unit vector ``index``, which identifies the direction."""
    z = torch.as_tensor(np.array(rows), dtype=torch.float64)
    text = torch.zeros(len(z), 1, 5, dtype=torch.float64)
    text[..., index] = 1.0
    given: dict[str, Any] = {"z": z, "condition": Condition(tokens=text, pooled=-2 * text[:, 0]), "level": 0.5}
    made_by = {"method": "test", "settings": {}, "model_name": "m", "model_fingerprint": "f"}
    return Direction(**(given | made_by | fields))


def to_directions(rows: NDArray[np.float64]) -> list[Direction]:
    """k directions from ``[k, b, d]``."""
    return [direction(*row, index=index) for index, row in enumerate(rows)]


def random_rows(count: int, batch: int, size: int, seed: int) -> NDArray[np.float64]:
    """Linearly independent directions of different lengths with a common part, ``[k, b, d]``."""
    generator = np.random.default_rng(seed)
    rows = generator.normal(size=(count, batch, size)) + 0.6 * generator.normal(size=(batch, size))
    rows *= generator.uniform(0.1, 10, size=(count, 1, 1))
    for index in range(batch):
        spectrum = np.linalg.eigvalsh(cosines(rows[:, index]))
        assume(spectrum[0] > 0.021)
        assume(abs(cosines(rows[:, index]) - np.eye(count)).max() < 0.89)
    return rows


def cosines(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit @ unit.T


def composed_by_numpy(rows: NDArray[np.float64], strengths: list[float], combine: Combine) -> NDArray[np.float64]:
    """The composition for one image, by NumPy's factorizations.

    The sum of dual directions is the vector in their span whose inner product with each d_j is ``s_j |d_j|^2``.
    """
    if combine == "sum":
        return np.asarray(strengths) @ rows
    if combine == "inverse":
        return np.linalg.pinv(rows) @ (np.asarray(strengths) * np.square(rows).sum(1))
    q, r = np.linalg.qr(rows.T)
    return q @ (np.diag(r) * strengths)


@given(st.data(), st.integers(1, 4), st.integers(1, 3), st.sampled_from(COMBINES), SEEDS)
def test_compose_matches_numpy(data: st.DataObject, count: int, batch: int, combine: Combine, seed: int) -> None:
    rows = random_rows(count, batch, 8, seed)
    strengths = data.draw(st.lists(STRENGTHS, min_size=count, max_size=count))
    result = compose(to_directions(rows), strengths, combine)
    for index in range(batch):
        expected = composed_by_numpy(rows[:, index], strengths, combine)
        assert np.allclose(result.z[index], expected, rtol=1e-9, atol=1e-9)
    coefficients = result.condition.tokens[:, 0, :count].numpy()  # texts are unit vectors, so tokens are coefficients
    assert np.allclose(np.einsum("bk,kbd->bd", coefficients, rows), result.z, rtol=1e-9, atol=1e-9)
    assert np.array_equal(result.condition.pooled, -2 * result.condition.tokens[:, 0])


@given(st.integers(1, 4), st.integers(1, 3), SEEDS)
def test_cross_talk_matches_numpy(count: int, batch: int, seed: int) -> None:
    rows = random_rows(count, batch, 6, seed)
    expected = np.einsum("ibd,jbd->bij", rows, rows) / np.square(rows).sum(2).T[:, None]
    talk = cross_talk(to_directions(rows)).numpy()
    np.testing.assert_allclose(talk, expected, rtol=1e-9, atol=1e-12)
    assert (talk[:, range(count), range(count)] == 1).all()


@pytest.mark.parametrize("combine", COMBINES)
@pytest.mark.parametrize("shared_index", [0, 1])
def test_a_shared_direction_combines_with_one_direction_per_image(combine: Combine, shared_index: int) -> None:
    rows = np.random.default_rng(3).normal(size=(2, 3, 6))
    parts = to_directions(rows)
    parts[shared_index] = direction(rows[shared_index, 0], index=shared_index)
    result = compose(parts, [1.0, -0.5], combine)
    talk = cross_talk(parts)
    assert len(result) == len(result.condition) == len(talk) == 3
    one_text = [dataclasses.replace(part, condition=part.condition[:1]) for part in parts]
    assert torch.equal(compose(one_text, [1.0, -0.5], combine).condition.tokens, result.condition.tokens)
    for index in range(3):
        alone = compose([part.row(index) for part in parts], [1.0, -0.5], combine)
        assert torch.allclose(result.z[index], alone.z[0], rtol=1e-12)
        assert torch.allclose(result.condition.tokens[index], alone.condition.tokens[0], rtol=1e-12)
        assert torch.allclose(talk[index], cross_talk([part.row(index) for part in parts])[0], rtol=1e-12)


def test_shapes_and_metadata_of_the_parts_are_kept() -> None:
    rows = np.random.default_rng(5).normal(size=(2, 3, 24)).astype(np.float32)
    flat = compose(to_directions(rows), [1.0, 2.0], "inverse")
    parts = [dataclasses.replace(p, z=p.z.to(torch.float32).reshape(3, 2, 3, 4)) for p in to_directions(rows)]
    shaped = compose(parts, [1.0, 2.0], "inverse").z
    assert (shaped.shape, shaped.dtype) == ((3, 2, 3, 4), torch.float32)
    assert torch.allclose(shaped.flatten(1), flat.z.to(torch.float32), rtol=1e-5, atol=1e-6)
    a = direction([1.0, 0.0], level=0.4, images=("p", "q"), notes=("a note", "another"))
    b = direction([0.0, 1.0], index=1, level=0.9, images=("q", "r"), notes=("another",))
    result = compose([a, b], (1.0, -0.5), "projection")
    assert (result.level, result.method, result.model_name, result.model_fingerprint) == (0.9, "composition", "m", "f")
    expected = {"combine": "projection", "parts": [a.fingerprint, b.fingerprint], "strengths": [1.0, -0.5]}
    assert result.settings == expected
    assert result.images == ("p", "q", "r")
    assert result.notes == ("a note", "another")
    assert result.source_captions == result.target_captions == ()


def directions_at_angle(cosine: float) -> list[Direction]:
    """Two directions with this cosine, the second three times as long."""
    return [direction([1.0, 0.0]), direction([3 * cosine, 3 * (1 - cosine**2) ** 0.5], index=1)]


@pytest.mark.parametrize(
    ("cosine", "strengths", "rejected"),
    [
        (-0.91, [1.0, 1.0], True),
        (-0.91, [-0.1, -4.0], True),
        (-0.89, [1.0, 1.0], False),
        (-0.91, [1.0, -1.0], False),
        (-0.91, [1.0, 0.0], False),
        (0.91, [1.0, 1.0], False),
        (0.91, [2.0, -1.0], True),
        (0.89, [2.0, -1.0], False),
    ],
)
def test_opposed_directions_are_rejected(cosine: float, strengths: list[float], rejected: bool) -> None:
    pair = [direction([0.0, 0.0, 1.0]), *(direction([*d.z[0].tolist(), 0.0]) for d in directions_at_angle(cosine))]
    if not rejected:
        assert compose(pair, [1.0, *strengths]).length.all()
        return
    with pytest.raises(ConfigError, match=r"-0\.91"):
        compose(pair, [1.0, *strengths])


@pytest.mark.parametrize(("cosine", "rejected"), [(0.985, True), (0.975, False), (-0.985, True), (-0.975, False)])
@pytest.mark.parametrize("combine", ["inverse", "projection"])
def test_nearly_parallel_directions_can_only_be_summed(combine: Combine, cosine: float, rejected: bool) -> None:
    pair, strengths = directions_at_angle(cosine), [1.0, 1.0 if cosine > 0 else -1.0]
    assert compose(pair, strengths).length.all()
    angles = [directions_at_angle(-strengths[1] * cosine) for cosine in (0.1, 0.95, -0.5)]
    batch = [direction(*(angle[index].z[0].tolist() for angle in angles), index=index) for index in range(2)]
    with pytest.raises(ConfigError, match=r"-0\.95"):  # the image whose directions are opposed
        compose(batch, strengths)
    if not rejected:
        assert compose(pair, strengths, combine).length.all()
        return
    with pytest.raises(ConfigError):
        compose(pair, strengths, combine)


@pytest.mark.parametrize("combine", ["inverse", "projection"])
@pytest.mark.parametrize("excess", [0.0, 0.05])
def test_dependent_directions_can_only_be_summed(combine: Combine, excess: float) -> None:
    """The third is the sum of the first two but for a small excess, although no two are nearly parallel."""
    rows = np.array([[1.0, 0, 0, 0], [0, 1, 0, 0], [1, 1, excess, 0], [0, 0, 0, 1]])[:, None]
    assert compose(to_directions(rows), [1.0] * 4).z.tolist() == [[2, 2, excess, 1]]
    for order in ([0, 1, 2, 3], [2, 0, 1]):
        with pytest.raises(ConfigError):
            compose(to_directions(rows[order]), [1.0] * len(order), combine)
    with pytest.raises(ConfigError):
        compose(to_directions(rows[[0, 3, 1, 2]]), [1.0] * 4, combine)


FLAT, ZERO, THREE = direction([1.0, 0.0]), direction([0.0, 0.0]), direction(*[[1.0, 0.0]] * 3)


@pytest.mark.parametrize(
    ("parts", "error"),
    [
        ([FLAT, ZERO], ConfigError),
        ([direction([0.0, 0.0], [1.0, 0.0]), FLAT], ConfigError),
        ([FLAT, direction([1.0, 0.0, 0.0])], ShapeError),
        ([THREE, FLAT, direction(*[[1.0, 0.0]] * 2)], ShapeError),
    ],
)
def test_incompatible_directions_are_rejected(parts: list[Direction], error: type[Exception]) -> None:
    with pytest.raises(error):
        compose(parts, [1.0] * len(parts))
    with pytest.raises(error):
        cross_talk(parts)


def test_models_strengths_and_combine_are_validated() -> None:
    other = direction([0.0, 1.0], model_name="n", model_fingerprint="g")
    with pytest.raises(ConfigError):
        compose([FLAT, other], [1.0, 1.0])
    for parts, strengths in (([FLAT, FLAT], [1.0]), ([], [])):
        with pytest.raises(ShapeError):
            compose(parts, strengths)
    unknown: Any = "project"
    with pytest.raises(ConfigError, match="'projection'"):
        compose([FLAT, FLAT], [1.0, 1.0], unknown)


@pytest.mark.parametrize(
    ("source", "target", "name"),
    [
        (("a man with a hat, a smile",), ("a man with a hat, a grimace",), "a grimace"),
        (("a man with a hat, glasses",), ("a man with a hat",), "no glasses"),
        (("a man with a hat",), ("a man with a hat",), "direction 2"),
        ((), ("a man",), "direction 2"),
    ],
)
def test_directions_are_named_by_their_captions(source: tuple[str, ...], target: tuple[str, ...], name: str) -> None:
    text = direction([0.0, 1.0], source_captions=source, target_captions=target)
    assert named([direction([1.0, 0.0]), text]) == ["direction 1", name]
    assert named([]) == []


@pytest.mark.parametrize(
    ("source", "targets", "expected"),
    [
        (
            "a person on a motorcycle",
            ["a person on a bicycle", "an old person on a motorcycle"],
            "an old person on a bicycle",
        ),
        (
            "a dog by a red car on the street",
            [
                "a dog by a red bus on the street",
                "a dog by a blue car on the street",
                "a dog by a red car on the beach",
            ],
            "a dog by a blue bus on the beach",
        ),
        ("a man, a hat", ["a man, a hat, a smile", "a man, a hat, a beard"], "a man, a hat, a smile, a beard"),
        ("a man, a hat, a smile", ["a man, a smile", "a man, a hat"], "a man"),
        ("a man, no hat", ["a man, a hat", "a man, a hat"], "a man, a hat"),
        ("a man", ["a man"], "a man"),
        ("a man", [], "a man"),
        ("一个男人骑马", ["一个老男人骑马", "一个男人骑牛"], "一个老男人骑牛"),
    ],
)
def test_changes_are_made_one_after_the_other(source: str, targets: list[str], expected: str) -> None:
    assert merged(source, targets) == (expected, [])


def test_a_change_of_words_that_are_gone_does_not_fit() -> None:
    targets = ["a man on a cow", "", "an old man on a horse", "a man on a dog"]
    assert merged("a man on a horse", targets) == ("an old man on a cow", [1, 3])
    assert merged("a man", [""]) == ("a man", [0])


@given(st.lists(st.sampled_from(["cat", "hat", "red", "old"]), min_size=2, max_size=6), st.data())
def test_changes_at_different_places_are_all_in_the_caption(words: list[str], data: st.DataObject) -> None:
    words = [f"{word}{index}" for index, word in enumerate(words)]
    places = data.draw(st.sets(st.sampled_from(range(len(words)))))
    targets = [" ".join([*words[:place], f"new{place}", *words[place + 1 :]]) for place in places]
    expected = " ".join(f"new{place}" if place in places else word for place, word in enumerate(words))
    assert merged(" ".join(words), targets) == (expected, [])
