"""The conversion of galaxygrad's networks: closed forms at a Gaussian, and files with random weights."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from latentedit import Backbone, JointLatent, edit_latent, local_basis
from latentedit.core import ConfigError
from latentedit.numerics import clean_estimate, draw, per_element
from latentedit.testing import BackboneContract
from research.foreign.galaxies import (
    BLOCKS,
    HIDDEN,
    LAST_TIME,
    PATCH,
    S_MAX,
    S_MIN,
    WIDTH,
    ScoreNetwork,
    from_arrays,
    galaxy_backbone,
    permuted_twin,
    read_arrays,
    telescopes_backbone,
    velocity_of_score,
)

SIDE = 16
MEAN, DEVIATION = 0.7, 1.3


def gaussian_score(y: Tensor, t: Tensor) -> Tensor:
    """The score of a Gaussian in the process of the package."""
    alpha = per_element((-t / 2).exp(), y)
    return -(y - alpha * MEAN) / (alpha**2 * DEVIATION**2 + 1 - alpha**2)


def stored_arrays(seed: int) -> list[np.ndarray]:
    """Random weights as the package stores them: a leaf after the other, the last time at the end."""
    random, patches = np.random.default_rng(seed), (SIDE // PATCH) ** 2
    shapes: list[tuple[int, ...]] = [(WIDTH, 2, PATCH, PATCH), (WIDTH, 1, 1), (1, WIDTH, PATCH, PATCH), (1, 1, 1)]
    for _ in range(BLOCKS):
        for width in (patches, WIDTH):
            shapes += [(HIDDEN, width), (HIDDEN,), (width, HIDDEN), (width,)]
        shapes += [(WIDTH, patches)] * 2 + [(patches, WIDTH)] * 2
    shapes += [(WIDTH, patches)] * 2
    return [*(random.normal(0, 0.1, shape).astype(np.float32) for shape in shapes), np.array(LAST_TIME)]


def network(seed: int = 0) -> ScoreNetwork:
    return from_arrays(stored_arrays(seed))


@pytest.mark.parametrize("level", [S_MIN, 0.3, 0.8, S_MAX])
def test_velocity_of_a_gaussian_score_is_the_closed_form(level: float) -> None:
    z, s = draw((4, 1, 3, 3), seed=1, purpose="gaussian").double(), torch.full((4,), level, dtype=torch.float64)
    variance = (1 - level) ** 2 * DEVIATION**2 + level**2
    expected = (level - (1 - level) * DEVIATION**2) * (z - (1 - level) * MEAN) / variance - MEAN
    found = velocity_of_score(gaussian_score, z, s)
    assert torch.allclose(found, expected, rtol=1e-10, atol=1e-10)
    with_other_sign = velocity_of_score(lambda y, t: -gaussian_score(y, t), z, s)
    assert not torch.allclose(with_other_sign, expected, rtol=1e-2)


def test_clean_estimate_of_a_gaussian_has_slope_one() -> None:
    s = torch.full((20_000,), 0.6, dtype=torch.float64)
    x, e = draw((2, 20_000, 1), seed=2, purpose="slope").double()
    x = MEAN + DEVIATION * x
    z = 0.4 * x + 0.6 * e
    estimate = clean_estimate(z, s, velocity_of_score(gaussian_score, z, s))
    slope = torch.cov(torch.stack([x[:, 0], estimate[:, 0]]))[0, 1] / estimate.var()
    assert float(slope) == pytest.approx(1, abs=0.03)


def test_highest_level_is_that_of_the_last_time() -> None:
    alpha, sigma = (1 - S_MAX) / np.hypot(1 - S_MAX, S_MAX), S_MAX / np.hypot(1 - S_MAX, S_MAX)
    assert -2 * np.log(alpha) == pytest.approx(LAST_TIME)
    assert alpha**2 + sigma**2 == pytest.approx(1)


@pytest.mark.parametrize("steps", [1, 2, 7, 28])
def test_no_step_of_a_grid_starts_below_the_lowest_level(steps: int) -> None:
    grid = galaxy_backbone(network(), name="galaxies").grid(steps)
    assert grid.steps == steps
    assert grid.levels[0] == S_MAX
    assert min(grid.levels[:-1]) >= S_MIN


def test_a_file_is_read_array_by_array(tmp_path: Path) -> None:
    arrays = stored_arrays(3)
    with (tmp_path / "stored.eqx").open("wb") as file:
        for array in arrays:
            np.save(file, array)
    found = read_arrays(tmp_path / "stored.eqx")
    assert all(np.array_equal(a, b) for a, b in zip(arrays, found, strict=True))


def test_network_is_the_one_of_the_arrays_channels_first() -> None:
    """The same layers written once more, with channels first and the transposed convolution as a sum over patches."""
    arrays = [torch.from_numpy(np.asarray(one, np.float32)) for one in stored_arrays(4)]
    y, t = draw((1, 1, SIDE, SIDE), seed=4, purpose="network"), torch.tensor([2.5])
    kernel_in, bias_in, kernel_out, bias_out = arrays[:4]
    plane = torch.full_like(y, 2.5 / LAST_TIME)
    patches = functional.unfold(torch.cat([y, plane], 1), PATCH, stride=PATCH)[0]
    h = kernel_in.flatten(1) @ patches + bias_in.flatten()[:, None]
    for index in range(BLOCKS):
        a, b, c, d, e, f, g, i, *norms = arrays[4 + 12 * index : 16 + 12 * index]
        normed = functional.layer_norm(h, h.shape, norms[0], norms[1])
        h = h + functional.relu(normed @ a.T + b) @ c.T + d
        normed = functional.layer_norm(h.T, h.T.shape, norms[2], norms[3])
        h = h + (functional.relu(normed @ e.T + f) @ g.T + i).T
    h = functional.layer_norm(h, h.shape, arrays[-3], arrays[-2])
    side = SIDE // PATCH
    expected = torch.zeros(SIDE, SIDE)
    for row in range(SIDE):
        for column in range(SIDE):
            # JAX correlates with the kernel as it is, so the pixel at (0, 0) of a patch meets its last entry.
            weight = kernel_out[0, :, PATCH - 1 - row % PATCH, PATCH - 1 - column % PATCH]
            expected[row, column] = weight @ h[:, row // PATCH * side + column // PATCH] + bias_out.squeeze()
    found = from_arrays(stored_arrays(4))(y, t)[0, 0]
    assert torch.allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_other_arrays_are_refused() -> None:
    with pytest.raises(ConfigError, match="not the weights"):
        from_arrays(stored_arrays(5)[1:])


def test_twin_has_the_same_numbers_elsewhere() -> None:
    own = network(6)
    twin, again = permuted_twin(own, 1), permuted_twin(own, 1)
    for a, b, c in zip(own.parameters(), twin.parameters(), again.parameters(), strict=True):
        assert torch.equal(a.flatten().sort().values, b.flatten().sort().values)
        assert torch.equal(b, c)
        assert a.numel() == 1 or not torch.equal(a, b)


def test_a_text_weights_networks() -> None:
    both = telescopes_backbone({"one": network(7), "two": network(8)}, name="both")
    z, s = draw((1, 1, SIDE, SIDE), seed=7, purpose="both"), torch.tensor([0.5])
    one, two, mean = (both.velocity(z, s, both.embed([text])) for text in ("one", "two", ""))
    assert torch.allclose(one, galaxy_backbone(network(7), name="one").velocity(z, s, both.embed([""])))
    assert torch.allclose((one + two) / 2, mean, atol=1e-4)


@pytest.mark.slow
def test_local_basis_of_the_middle_and_an_edit_between_networks() -> None:
    model = galaxy_backbone(network(9), name="galaxies")
    x = draw((1, 1, SIDE, SIDE), seed=9, purpose="basis")
    latent = JointLatent(backbone=model, z=x, condition=model.embed([""]), captions=("",))
    basis = local_basis(latent, site="mid", rank=2, level=0.7, steps=4, progress=False)
    assert model.default_site == "mid"
    assert basis.u.shape == (2, (SIDE // PATCH) ** 2, WIDTH)
    both = telescopes_backbone({"one": network(7), "two": network(8)}, name="both")
    (edited,) = edit_latent(both, x, both.embed(["one"]), both.embed(["two"]), editor="flowedit")
    assert bool(edited.z.isfinite().all())
    assert not torch.equal(edited.z, x)


class TestGalaxy(BackboneContract):
    texts = ()

    @pytest.fixture(scope="class")
    def backbone(self) -> Backbone:
        return galaxy_backbone(network(10), name="galaxies")


class TestTelescopes(BackboneContract):
    texts = ("one", "two")

    @pytest.fixture(scope="class")
    def backbone(self) -> Backbone:
        return telescopes_backbone({"one": network(11), "two": network(12)}, name="both")
