"""Models of strangers, given as functions: a narrow range of levels, one channel, no text, numbers as conditions."""

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import latentedit as le
from latentedit.core.errors import ConfigError, LatentEditWarning, ShapeError, UnsupportedDerivativeError
from latentedit.editing.discovery import draw_discovery
from latentedit.geometry.pullback import local_basis
from latentedit.geometry.walks import TYPICAL_EFFECT
from latentedit.models.base import Backbone
from latentedit.models.callable import CallableBackbone
from latentedit.models.capabilities import Capabilities
from latentedit.numerics.condition import Condition
from latentedit.numerics.rng import draw, seeded
from latentedit.testing.contracts.backbone import BackboneContract

SIDE = 8


class Network(nn.Module):
    """Heights of one channel, their level and a percentage beside them, to a velocity; "mid" is a module inside."""

    def __init__(self) -> None:
        super().__init__()
        with seeded(0):
            self.first = nn.Conv2d(3, 4, 3, padding=1)
            self.mid = nn.Conv2d(4, 4, 3, padding=1)
            self.last = nn.Conv2d(4, 1, 3, padding=1)

    def forward(self, z: Tensor, s: Tensor, number: Tensor) -> Tensor:
        planes = [part[:, None, None, None].expand_as(z) for part in (s.to(z), number.to(z) / 100)]
        return self.last(self.mid(self.first(torch.cat([z, *planes], 1)).sigmoid()).sin())


def heights(*, levels: tuple[float, float] = (0.05, 0.9), reads: bool = False, **more: Any) -> CallableBackbone:
    """A model of heights without images, as its user gives it."""
    network = Network().requires_grad_(requires_grad=False)
    return CallableBackbone(
        lambda z, s, condition: network(z, s, condition.tokens[:, 0, 0]),
        embed=(lambda texts: Condition.of([float(text or 0) for text in texts])) if reads else None,
        latent_shape=(1, SIDE, SIDE),
        sites={"mid": network.mid},
        name="heights",
        fingerprint="heights-1",
        capabilities=Capabilities(s_min=levels[0], s_max=levels[1], start_std=0.9, pixels=False),
        **more,
    )


class TestWithoutText(BackboneContract):
    texts: ClassVar = ()

    @pytest.fixture(scope="class")
    def backbone(self) -> Backbone:
        return heights()


class TestOfNumbersAtOneLevel(BackboneContract):
    """One step map: its only level is 80 / 81, and any number but one of steps is refused."""

    texts: ClassVar = ("10", "90")

    @pytest.fixture(scope="class")
    def backbone(self) -> Backbone:
        return heights(levels=(80 / 81, 80 / 81), reads=True)


@pytest.mark.parametrize("steps", [1, 2, 7, 28, 100])
def test_the_default_grid_is_evaluated_inside_the_range_only(steps: int) -> None:
    for low, high in ((0.0, 1.0), (0.05, 0.9), (0.3, 0.6), (0.0, 0.5)):
        grid = heights(levels=(low, high)).grid(steps)
        assert (grid.steps, grid.levels[0], grid.levels[-1]) == (steps, high, 0.0)
        assert min(grid.levels[:-1]) >= low


def test_one_level_takes_one_step() -> None:
    model = heights(levels=(0.9, 0.9))
    assert model.grid(1).levels == (0.9, 0.0)
    with pytest.raises(ConfigError, match="steps=1"):
        model.grid(2)


@pytest.mark.parametrize("shape", [(1, SIDE, SIDE + 1), (2, SIDE, SIDE), (1, SIDE)])
def test_other_shapes_are_refused_by_the_library_and_not_counted(shape: tuple[int, ...]) -> None:
    model = heights()
    with model.count() as cost, pytest.raises(ShapeError, match=r"\[b, 1, 8, 8\]"):
        model.velocity(torch.zeros(1, *shape), torch.tensor([0.5]), model.embed([""]))
    assert cost.evaluations == 0


def test_a_velocity_of_another_shape_is_refused() -> None:
    """One that broadcasts gave an edit without a word."""
    model = CallableBackbone(lambda z, *_: z.mean(0, keepdim=True), embed=None, latent_shape=(1, SIDE, SIDE))
    with pytest.raises(ShapeError, match="velocity"):
        model.velocity(torch.zeros(2, 1, SIDE, SIDE), torch.tensor([0.5, 0.5]), model.embed([""]))


def test_sides_may_vary_where_the_shape_is_a_function() -> None:
    network = Network()
    model = CallableBackbone(
        lambda z, s, condition: network(z, s, condition.tokens[:, 0, 0]),
        embed=None,
        latent_shape=lambda height_px, width_px: (1, height_px // 8, width_px // 8),
        capabilities=Capabilities(pixels=False, sizes=(64, 64, 512)),
    )
    assert model.velocity(torch.zeros(1, 1, 8, 20), torch.tensor([0.5]), model.embed([""])).shape == (1, 1, 8, 20)
    with pytest.raises(ShapeError, match=r"\[b, 1, \.\.\., \.\.\.\]"):
        model.velocity(torch.zeros(1, 3, 8, 8), torch.tensor([0.5]), model.embed([""]))


def test_a_shape_function_is_not_called_with_sizes_that_nobody_gave() -> None:
    """One that refuses sides of one pixel refused every latent."""

    def shape(height_px: int, width_px: int) -> tuple[int, ...]:
        if height_px % 8:
            raise ShapeError("sides are multiples of 8 px")
        return 1, height_px // 8, width_px // 8

    model = CallableBackbone(lambda z, *_: z, embed=None, latent_shape=shape)
    assert model.velocity(torch.zeros(1, 1, 8, 20), torch.tensor([0.5]), model.embed([""])).shape == (1, 1, 8, 20)


def test_a_local_basis_at_a_module_is_that_of_its_dense_jacobian() -> None:
    model = heights()
    z = draw((1, 1, SIDE, SIDE), seed=1, purpose="heights")
    assert model.sites[0] == model.default_site == "mid"
    latent = le.JointLatent(backbone=model, z=z, condition=model.embed([""]), captions=("",))
    basis = local_basis(latent, level=0.5, rank=2, pooling="none", seed=0)
    at, s, nothing = basis.trace.top, torch.tensor([0.5]), model.embed([""])
    jacobian = torch.autograd.functional.jacobian(lambda each: model.features(each, s, nothing, "mid"), at)
    exact = torch.linalg.svdvals(jacobian.reshape(-1, z.numel()).double())
    torch.testing.assert_close(basis.singular_values.flatten().double()[:2], exact[:2], rtol=1e-3, atol=0)


def test_images_without_sizes_are_refused() -> None:
    """The default of one pixel edited every image at a size of 1 x 1."""
    with pytest.raises(ConfigError, match="sizes"):
        CallableBackbone(lambda z, *_: z, embed=None, latent_shape=(3, 8, 8), encode=torch.clone, decode=torch.clone)


def test_conditions_of_numbers_and_vectors() -> None:
    assert Condition.of([1, 2]).tokens.tolist() == [[[1.0]], [[2.0]]]
    assert Condition.of(torch.eye(3, dtype=torch.float64)).tokens.shape == (3, 1, 3)
    assert Condition.of(torch.eye(3, dtype=torch.float64)).tokens.dtype == torch.float64
    between = Condition.of([10.0]).lerp(Condition.of([90.0]), 0.5)
    assert float(between.tokens) == 50


def test_tensors_go_in_and_come_out() -> None:
    """Encode, identify, discover and edit of a model without images: nothing is cut to 8 bits."""
    model, z = heights(reads=True), 7 * draw((1, 1, SIDE, SIDE), seed=1, purpose="heights")
    latent = le.encode(model, z, source_prompt="10")
    assert torch.equal(latent.z, z)
    assert latent.captions == ("10",)
    found = le.identify(latent, "90", progress=False)
    expected = le.identification.find_direction(latent, Condition.of([90.0]), le.HSDS(), seed=0)
    torch.testing.assert_close(found.z, expected.z)
    own = latent.condition
    still, half, whole = le.edit_latent(model, z, own, found, [0.0, 0.5, 1.0], auto_mask=False)
    assert torch.equal(still.z, z)
    torch.testing.assert_close(whole.z, z + found.z)
    torch.testing.assert_close(half.z, z + found.z / 2)
    (towards,) = le.edit_latent(model, z, own, Condition.of([90.0]), editor="eim", auto_mask=False, refine=False)
    torch.testing.assert_close(towards.z, whole.z)


def test_directions_discovered_in_tensors_move_them_by_their_unit() -> None:
    model, z = heights(), draw((1, 1, SIDE, SIDE), seed=1, purpose="heights")
    found = le.discover(le.encode(model, z), rank=2, progress=False)
    discovered = found.directions[0]
    assert discovered.probe.images is None
    assert discovered.direction.preview == b""
    moved = le.edit_latent(model, z, model.embed([""]), discovered.direction, [1.0], auto_mask=False)
    assert float((moved[0].z - z).square().mean().sqrt()) == pytest.approx(TYPICAL_EFFECT, rel=0.1)
    with pytest.raises(ConfigError, match="nothing to draw"):
        draw_discovery(found, title="heights")


WEAK, STRONG = Condition.of([10.0]), Condition.of([90.0])
TEXTS: Any = ("10", "90")
LEVELS: Any = [0.9, 0.0]


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        (lambda model, z: le.edit_latent(model, z.numpy(), WEAK, STRONG), ShapeError),
        (lambda model, z: le.edit_latent(model, z.double(), WEAK, STRONG), ShapeError),
        (lambda model, z: le.edit_latent(model, z[:0], WEAK, STRONG), ShapeError),
        (lambda model, z: le.edit_latent(model, z / 0, WEAK, STRONG), ShapeError),
        (lambda model, z: le.edit_latent(model, z, TEXTS[0], TEXTS[1]), ConfigError),
        (lambda model, z: le.edit_latent(model, z, WEAK, STRONG, levels=LEVELS), ConfigError),
        (lambda model, z: le.edit(model, z, "90", source_prompt="10"), ConfigError),
        (lambda model, z: le.encode(model, [z, "a"], source_prompt="10"), ConfigError),
        (lambda model, z: le.encode(model, z / 0, source_prompt="10"), ShapeError),
        (lambda model, z: le.encode(model, z[0], source_prompt="10"), ShapeError),
        (lambda model, z: le.encode(model, z.int(), source_prompt="10"), ShapeError),
        (le.encode, ConfigError),
        (lambda model, z: le.Session(le.encode(model, z, source_prompt="10")).edit("90"), ConfigError),
        (lambda model, z: le.edit(model, z.sigmoid(), "90", source_prompt="10"), ConfigError),
        (lambda model, z: le.edit_latent(model, z, Condition.of([1.0]), of_another_model(z)), ConfigError),
    ],
    ids=[
        "NumPy",
        "float64",
        "empty",
        "not finite",
        "texts",
        "list of levels",
        "any values",
        "no tensor",
        "encoding what is not finite",
        "no batch",
        "integers",
        "no text",
        "sweep",
        "edit",
        "direction of another model",
    ],
)
def test_tensors_that_do_not_fit_are_refused(wrong: Any, error: type[Exception]) -> None:
    model = heights(reads=True)
    with model.count() as cost, pytest.raises(error, match=_NAMED):
        wrong(model, draw((1, 1, SIDE, SIDE), seed=1, purpose="heights"))
    assert cost.evaluations == 0


_NAMED = r"edit_latent|\[b, |source_prompt|another model|finite|embed|LevelGrid|latents only"


def test_several_tensors_are_one_batch() -> None:
    model, z = heights(), draw((2, 1, SIDE, SIDE), seed=1, purpose="heights")
    assert torch.equal(le.encode(model, [z[:1], z[1:]]).z, z)
    paths = le.geometry.paths_between(le.encode(model, z), methods=["lerp"], frames=3, rank=1, steps=4)
    assert len(paths.paths) == 1


def test_strengths_beyond_what_does_no_damage_are_clamped_with_a_warning() -> None:
    """Strengths of -5 and -50 gave one latent, and no word."""
    model, z = heights(), draw((1, 1, SIDE, SIDE), seed=1, purpose="heights")
    direction = le.discover(le.encode(model, z), rank=1, progress=False).directions[0].direction
    with pytest.warns(LatentEditWarning, match="clamped"):
        le.edit_latent(model, z, model.embed([""]), direction, [-50.0])


def test_what_a_model_declares_is_checked() -> None:
    refused: list[dict[str, Any]] = [
        {"s_min": 0.9, "s_max": 0.1},
        {"s_max": 2.0},
        {"guidance_kind": "no"},
        {"derivatives": "none"},
        {"sizes": (512, 64, 1024)},
    ]
    for wrong in refused:
        with pytest.raises(ConfigError):
            Capabilities(**wrong)


def test_a_model_without_derivatives_has_no_local_basis_but_a_remedy() -> None:
    model = heights()
    model.capabilities = dataclasses.replace(model.capabilities, derivatives=frozenset())
    z = draw((1, 1, SIDE, SIDE), seed=1, purpose="heights")
    with pytest.raises(UnsupportedDerivativeError, match="capabilities"):
        le.local_basis(le.encode(model, z), progress=False)


def test_a_direction_of_a_model_without_a_fingerprint_stays_with_its_model(tmp_path: Path) -> None:
    model, z = heights(reads=True), draw((1, 1, SIDE, SIDE), seed=1, purpose="heights")
    model.fingerprint = ""
    latent = le.encode(model, z, source_prompt="10")
    found = le.identify(latent, "90", method=le.HSDS(steps=1), progress=False)
    with pytest.raises(ConfigError, match="fingerprint"):
        found.save(tmp_path / "found.safetensors")
    other = heights(reads=True)
    other.fingerprint, other.name = "", "others"
    with pytest.raises(ConfigError, match="another model"):
        le.edit_latent(other, z, WEAK, found)


def test_a_model_without_text_needs_no_caption_of_an_image() -> None:
    sizes = Capabilities(sizes=(SIDE, SIDE, SIDE))
    model = CallableBackbone(
        lambda z, *_: z,
        embed=None,
        latent_shape=(3, SIDE, SIDE),
        encode=torch.clone,
        decode=torch.clone,
        capabilities=sizes,
    )
    assert le.encode(model, Image.new("RGB", (SIDE, SIDE))).captions == ("",)


def of_another_model(z: Tensor) -> le.Direction:
    """A direction of a model with other weights."""
    other = heights(reads=True)
    other.fingerprint = "heights-2"
    latent = le.encode(other, z, source_prompt="10")
    return le.identify(latent, "90", method=le.HSDS(steps=1), progress=False)


def test_advice_to_complete_captions_is_not_given_for_classes_and_numbers() -> None:
    advice = "partial captions reduce quality"
    for tokens, advised in ((1, False), (2, True)):
        model = CallableBackbone(
            lambda z, s, condition: z - condition.tokens.mean((1, 2))[:, None, None, None],
            embed=functools.partial(_embedded, tokens=tokens),
            latent_shape=(3, SIDE, SIDE),
            encode=torch.clone,
            decode=torch.clone,
            capabilities=Capabilities(sizes=(SIDE, SIDE, SIDE)),
        )
        image = Image.new("RGB", (SIDE, SIDE), (90, 90, 90))
        edit = le.edit(model, image, "0.9", source_prompt="0.1", method="flowedit", steps=2, progress=False)
        assert any(advice in note for note in edit.notes) == advised


def _embedded(texts: Sequence[str], *, tokens: int) -> Condition:
    """The number that a text is, as several equal tokens."""
    numbers = torch.tensor([float(text or 0) for text in texts])
    return Condition(tokens=numbers[:, None, None].expand(-1, tokens, 1), pooled=torch.zeros(len(texts), 0))
