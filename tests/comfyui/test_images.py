"""The functions of the image nodes: batches, float types, masks, and pixels that stay."""

import functools
import importlib.metadata
import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from latentedit import KeepResult, check, keep
from latentedit.core.errors import ImageError
from tests.comfyui import PACK, pack
from tests.installed import from_file
from tests.keep.pairs import cast, moved, scene, similarity, with_object

images = pack("images")

BEFORE = scene()
SHIFTED = moved(cast(with_object(BEFORE)), similarity((1.3, -0.8)), (160, 160))
REPLACED = with_object(BEFORE)


def tensor(*pixels: Any, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.from_numpy(np.stack(pixels).astype(np.float32) / np.float32(255)).to(dtype)


def levels(image: torch.Tensor) -> Any:
    return np.rint(255 * image.float().numpy()).astype(np.uint8)


def bright(*boxes: tuple[int, int, int, int, float]) -> torch.Tensor:
    """The scene with areas (top, bottom, left, right) of values that no file of 8 bits holds."""
    image = tensor(BEFORE)
    for top, bottom, left, right, value in boxes:
        image[:, top:bottom, left:right] = value
    return image


@functools.cache
def library() -> KeepResult:
    return keep(Image.fromarray(BEFORE), Image.fromarray(SHIFTED))


@pytest.fixture(autouse=True)
def _no_cache() -> Iterator[None]:
    images._analyzed.clear()
    yield
    images._analyzed.clear()


@pytest.mark.slow
def test_the_result_is_the_librarys_and_other_pixels_are_the_inputs_own() -> None:
    wanted = library()
    made = images.keep_change(tensor(SHIFTED), tensor(BEFORE))
    assert (levels(made.image[0]) == np.asarray(wanted.image)).all()
    assert (np.rint(255 * made.change[0].numpy()) == np.asarray(wanted.mask)).all()
    assert wanted.lines[-1] in made.report
    same = torch.from_numpy((np.asarray(wanted.image) == BEFORE).all(-1))
    assert 0.5 < same.float().mean() < 1
    assert torch.equal(made.image[0][same], tensor(BEFORE)[0][same])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_float_types_keep_their_bits(dtype: torch.dtype) -> None:
    own = tensor(BEFORE, dtype=dtype)
    made = images.keep_change(tensor(REPLACED, dtype=dtype), own)
    untouched = torch.from_numpy((REPLACED == BEFORE).all(-1))
    assert made.image.dtype == dtype
    assert torch.equal(made.image[0][untouched], own[0][untouched])
    assert (levels(made.image[0])[64:76, 84:96] == REPLACED[64:76, 84:96]).mean() > (
        0 if dtype == torch.bfloat16 else 0.99
    )


def test_values_between_levels_have_sixteen_bits() -> None:
    own = (tensor(BEFORE) + 0.0017).clamp(0, 1)
    edited = (tensor(REPLACED) + 0.0017).clamp(0, 1)
    made = images.keep_change(edited, own).image
    untouched = torch.from_numpy((REPLACED == BEFORE).all(-1))
    assert torch.equal(made[0][untouched], own[0][untouched])
    assert (made - edited)[0, 64:76, 84:96].abs().max() <= 0.5 / 65535 + 1e-6


def test_one_original_serves_many_edits() -> None:
    other = with_object(BEFORE, center=(30, 30), radius=12)
    one = [images.keep_change(tensor(edit), tensor(BEFORE)).image for edit in (REPLACED, other)]
    both = images.keep_change(tensor(REPLACED, other), tensor(BEFORE))
    each = images.keep_change(tensor(REPLACED, other), tensor(BEFORE, BEFORE))
    assert torch.equal(both.image, torch.cat(one))
    assert torch.equal(each.image, both.image)
    assert both.change.shape == (2, 160, 160)
    with pytest.raises(ValueError, match=r"2.*3"):
        images.keep_change(tensor(REPLACED, other), tensor(BEFORE, BEFORE, BEFORE))


def test_masks_of_any_size_limit_the_change_and_small_zeros_are_none() -> None:
    edit = tensor(REPLACED)
    free = images.keep_change(edit, tensor(BEFORE))
    none = images.keep_change(edit, tensor(BEFORE), torch.zeros(1, 64, 64))
    assert torch.equal(none.image, free.image)
    left = torch.zeros(1, 37, 53)
    left[:, :, :25] = 0.98  # not quite white; the object is cut at 75 of 160
    cut = images.keep_change(edit, tensor(BEFORE), left)
    assert torch.equal(cut.image[:, :, 80:], tensor(BEFORE)[:, :, 80:])
    assert not torch.equal(cut.image, tensor(BEFORE))
    with pytest.raises(ImageError, match="black everywhere"):
        images.keep_change(edit, tensor(BEFORE), torch.zeros(1, 160, 160))


def test_no_amount_is_the_original_and_half_of_it_half_the_change() -> None:
    edit = tensor(REPLACED)
    assert torch.equal(images.keep_change(edit, tensor(BEFORE), amount=0.0).image, tensor(BEFORE))
    half = images.keep_change(edit, tensor(BEFORE), amount=0.5)
    middle = np.s_[0, 64:76, 84:96]
    assert torch.allclose(half.image[middle], (edit[middle] + tensor(BEFORE)[middle]) / 2, atol=1.01 / 255)
    assert half.change.max() == pytest.approx(0.5)


@pytest.mark.slow
def test_a_feather_widens_the_edge_up_to_its_width_and_not_beyond_the_mask() -> None:
    edit = tensor(moved(cast(with_object(BEFORE, center=(150, 70))), similarity((0.4, 0.3)), (160, 160)))
    plain, soft = (images.keep_change(edit, tensor(BEFORE), feather=feather) for feather in (0, 12))
    assert (soft.change >= plain.change - 1 / 255).all()
    assert soft.change[0, 70, 159] == plain.change[0, 70, 159] == 1  # the change touches the border
    assert (soft.change > 0).sum() > (plain.change > 0).sum()
    assert (soft.change[0, :, :100] == plain.change[0, :, :100]).all()
    mask = torch.ones(1, 160, 160)
    mask[:, :60] = 0
    assert (images.keep_change(edit, tensor(BEFORE), mask, feather=12).change[0, :60] == 0).all()


def test_a_mask_that_fits_the_change_keeps_it_whole_with_a_feather_too() -> None:
    edit, whole = tensor(REPLACED), images.keep_change(tensor(REPLACED), tensor(BEFORE))
    top, left = (int((whole.change[0] > 0).any(dim=side).nonzero()[0]) for side in (1, 0))
    bottom, right = (int((whole.change[0] > 0).any(dim=side).nonzero()[-1]) + 1 for side in (1, 0))
    mask = torch.zeros(1, 160, 160)
    mask[:, top:bottom, left:right] = 1
    soft = images.keep_change(edit, tensor(BEFORE), mask, feather=12)
    assert (soft.change >= whole.change).all()
    assert torch.equal(soft.image[whole.change == 1], whole.image[whole.change == 1])
    assert (soft.change[mask == 0] == 0).all()


def test_a_mask_that_fits_a_dimmed_sun_keeps_all_of_it() -> None:
    before, edited = (bright((40, 80, 50, 110, sun)) for sun in (4.0, 2.0))
    mask = torch.zeros(1, 160, 160)
    mask[:, 40:80, 50:110] = 1
    assert torch.equal(images.keep_change(edited, before, mask).image, edited)


def test_alpha_and_other_numbers_of_channels() -> None:
    clear = np.dstack([REPLACED, np.where((REPLACED != BEFORE).any(-1), 120, 255).astype(np.uint8)])
    assert images.keep_change(tensor(clear), tensor(BEFORE)).image.shape == (1, 160, 160, 4)
    both = images.keep_change(torch.cat([tensor(clear)] * 2), tensor(BEFORE))
    assert both.image.shape == (2, 160, 160, 4)
    gray = images.keep_change(tensor(REPLACED[..., :1]), tensor(BEFORE[..., :1]))
    assert gray.image.shape == (1, 160, 160, 3)


def test_a_check_after_a_keep_does_not_analyze_the_pair_again(monkeypatch: pytest.MonkeyPatch) -> None:
    images.keep_change(tensor(SHIFTED), tensor(BEFORE), amount=0.5)
    monkeypatch.setattr(images, "keep", lambda *_, **__: pytest.fail("analyzed twice"))
    steps: list[tuple[int, int]] = []
    found = images.check_edit(
        tensor(SHIFTED), tensor(BEFORE), progress=lambda _, done, total: steps.append((done, total))
    )
    assert steps == [(1, 1)]
    wanted = check(kept=library(), max_outside=1.0)
    values = json.loads(found.report)
    assert {**values, "next_step": ""} == {**wanted.report.values, "next_step": ""}
    assert (levels(found.panel[0]) == np.asarray(wanted.panel)).all()
    assert torch.equal(images.keep_change(tensor(SHIFTED), tensor(BEFORE)).image, tensor(np.asarray(library().image)))


def test_the_oldest_analyses_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "_CACHED_PIXELS", 2 * 160 * 160)
    for center in ((30, 30), (60, 60), (90, 90)):
        images.check_edit(tensor(with_object(BEFORE, center=center)), tensor(BEFORE))
    assert len(images._analyzed) == 2


def test_a_batch_passes_if_all_of_it_does_and_a_failure_names_a_node() -> None:
    around = torch.zeros(1, 160, 160)
    around[:, 45:95, 65:115] = 1
    assert images.check_edit(tensor(REPLACED), tensor(BEFORE), around).passed is True
    failed = images.check_edit(tensor(REPLACED, BEFORE), tensor(BEFORE), 1 - around)
    assert failed.passed is False
    reports = json.loads(failed.report)
    assert [report["next_step_code"] for report in reports] == ["invert mask", "check files"]
    assert "Invert Mask" in reports[0]["next_step"]
    assert all("--" not in step and "latentedit keep" not in step for step in images._NEXT.values())


@pytest.mark.slow
def test_frame_and_colors_are_undone() -> None:
    made = images.match_frame_and_color(tensor(SHIFTED), tensor(BEFORE))
    framed = images.match_frame_and_color(tensor(SHIFTED), tensor(BEFORE), color=False)
    inner = np.s_[0, 8:-8, 8:60]  # without the object
    before, after, frame = (
        float((one[inner] - tensor(BEFORE)[inner]).abs().mean()) for one in (tensor(SHIFTED), made.image, framed.image)
    )
    assert after < 0.25 * before
    assert after < 0.5 * frame
    assert (made.change == 1).float().mean() > 0.95


def test_enforce_mask_leaves_the_original_outside() -> None:
    torch_mask = torch.zeros(1, 160, 160)
    torch_mask[:, 40:100, 60:120] = 1
    own = tensor(BEFORE, dtype=torch.float16)
    made = images.enforce_mask(tensor(SHIFTED, dtype=torch.float16), own, torch_mask)
    inside = torch_mask[0] == 1
    assert torch.equal(made[0][~inside], own[0][~inside])
    assert torch.equal(made[0][inside], tensor(SHIFTED, dtype=torch.float16)[0][inside])
    soft = images.enforce_mask(tensor(SHIFTED), tensor(BEFORE), torch_mask, feather=10)
    assert torch.equal(soft[0][~inside], tensor(BEFORE)[0][~inside])
    assert torch.equal(soft[0, 65:75, 85:95], tensor(SHIFTED)[0, 65:75, 85:95])
    assert not torch.equal(soft[0, 41, 61], tensor(SHIFTED)[0, 41, 61])
    assert images.enforce_mask(tensor(SHIFTED[:100]), tensor(BEFORE), torch_mask).shape == (1, 160, 160, 3)
    with pytest.raises(ValueError, match="mask is empty"):
        images.enforce_mask(tensor(SHIFTED), tensor(BEFORE), torch.zeros(1, 64, 64))


def test_files_keep_exif_and_depth(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010F] = "maker"
    Image.fromarray(BEFORE).save(tmp_path / "a.png", exif=exif)
    Image.fromarray(SHIFTED).save(tmp_path / "b.png")
    made = images.keep_files(tmp_path / "b.png", tmp_path / "a.png", tmp_path / "c.png")
    saved = Image.open(tmp_path / "c.png")
    assert saved.getexif()[0x010F] == "maker"
    assert (levels(made.image[0]) == np.asarray(saved)).all()


def test_a_dimmed_sun_is_a_change_and_the_rest_keeps_its_bits() -> None:
    before, edited = (bright((10, 30, 60, 90, sun), (40, 50, 10, 20, 7.3)) for sun in (4.0, 2.0))
    made = images.keep_change(edited, before)
    assert torch.equal(made.image, edited)
    assert made.change[0, 20, 70] == 1
    assert made.change.sum() == 600
    assert "above 1 or below 0 changed in" in made.report
    assert torch.equal(images.keep_change(edited, before, amount=0.0).image, before)
    assert images.keep_change(edited, before, amount=0.5).image[0, 20, 70, 0] == 3
    nowhere = torch.zeros(1, *before.shape[1:3])
    nowhere[:, 100:120, 100:120] = 1
    assert torch.equal(images.keep_change(edited, before, nowhere).image, before)


def test_a_new_lamp_and_negative_values_are_kept_as_they_are() -> None:
    before, edited = bright((60, 70, 60, 80, -0.5)), bright((60, 70, 60, 80, -0.25), (100, 120, 20, 40, 3.0))
    made = images.keep_change(edited, before)
    torch.testing.assert_close(made.image[:, 102:118, 22:38], edited[:, 102:118, 22:38])
    assert torch.equal(made.image[:, 60:70, 60:80], edited[:, 60:70, 60:80])


def test_an_editor_that_cannot_exceed_one_and_one_that_fades_leave_the_sun() -> None:
    before = bright((10, 30, 60, 90, 4.0))
    made = images.keep_change(before.clamp(0, 1), before)
    assert torch.equal(made.image, before)
    assert "no values above 1" in made.report
    faded = images.keep_change(0.9 * before, before)
    assert torch.equal(faded.image[:, 10:30, 60:90], before[:, 10:30, 60:90])


@pytest.mark.slow
def test_a_dimmed_sun_is_found_in_a_moved_and_faded_edit() -> None:
    before, edited = (bright((10, 30, 60, 90, sun), (100, 120, 100, 130, 6.0)) for sun in (4.0, 2.0))
    shift = np.array([[1, 0, 1.3], [0, 1, -0.8]])
    edited = cv2.warpAffine(
        0.92 * edited[0].numpy(), shift, (160, 160), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT
    )
    made = images.keep_change(torch.from_numpy(edited)[None], before)
    torch.testing.assert_close(made.image[:, 13:27, 63:87], torch.full((1, 14, 24, 3), 2.0), atol=0.04, rtol=0)
    assert torch.equal(made.image[:, 100:120, 100:130], before[:, 100:120, 100:130])


def test_checks_see_values_above_one() -> None:
    before, edited = (bright((10, 30, 60, 90, sun)) for sun in (4.0, 2.0))
    found = images.check_edit(edited, before)
    report = json.loads(found.report)
    assert found.passed
    assert "above 1" in report["verdict"]
    assert "above 1" in " ".join(report["doubts"])
    elsewhere = torch.zeros(1, *before.shape[1:3])
    elsewhere[:, 100:120, 100:120] = 1
    assert not images.check_edit(edited, before, elsewhere).passed


def test_no_numbers_are_refused() -> None:
    edited, mask = tensor(BEFORE), torch.ones(1, 160, 160)
    edited[0, 0, 0, 0] = mask[0, 0, 0] = torch.nan
    for given in ((edited, tensor(BEFORE)), (tensor(REPLACED), tensor(BEFORE), mask)):
        with pytest.raises(ValueError, match="NaN"):
            images.keep_change(*given)


MASK = torch.zeros(1, 160, 160)
MASK[:, 40:100, 60:90] = 1
NODES = {  # the pixels or the values that a node makes of an edited image, an original and a mask
    "keep": lambda edited, original, mask: images.keep_change(edited, original, mask).image,
    "check": lambda edited, original, mask: images.check_edit(edited, original, mask).panel,
    "match": lambda edited, original, _: images.match_frame_and_color(edited, original).image,
    "enforce": lambda edited, original, mask: images.enforce_mask(edited, original, MASK if mask is None else mask),
}


@pytest.mark.slow_except("mask5-None", "mask6-None", "mask7-None")
@pytest.mark.parametrize(
    ("mask", "meant"),
    [
        (MASK[0], MASK), (MASK[:, None], MASK), (MASK[..., None], MASK), (MASK[0, ..., None], MASK),
        (MASK[0].bool(), MASK), (torch.zeros(64, 64), None), (torch.zeros(1, 1, 64, 64), None),
        (torch.zeros(64, 64, 1), None),
    ],
)  # fmt: skip
def test_a_mask_of_another_shape_is_what_it_can_only_mean(mask: torch.Tensor, meant: torch.Tensor | None) -> None:
    for node in ("keep", "check", *(["enforce"] if meant is not None else [])):
        wanted, made = (NODES[node](tensor(REPLACED), tensor(BEFORE), one) for one in (meant, mask))
        assert torch.equal(made, wanted)


def test_several_masks_with_a_channel_are_one_for_each_image() -> None:
    edited, masks = tensor(REPLACED, REPLACED), torch.cat([MASK, 1 - MASK])
    wanted, first, last = (
        images.enforce_mask(edited, tensor(BEFORE), one) for one in (masks, masks[:, None], masks[..., None])
    )
    assert torch.equal(first, wanted)
    assert torch.equal(last, wanted)
    assert not torch.equal(wanted[0], wanted[1])


@pytest.mark.parametrize("node", NODES)
def test_an_image_without_a_batch_is_one_and_two_channels_are_gray_with_alpha(node: str) -> None:
    edited, original = tensor(REPLACED), tensor(BEFORE)
    assert torch.equal(NODES[node](edited[0], original[0], None), NODES[node](edited, original, None))
    gray, alpha = original[..., :1], torch.full_like(original[..., :1], 0.5)
    two, four = torch.cat([gray, alpha], dim=-1), torch.cat([gray, gray, gray, alpha], dim=-1)
    changed = four.clone()
    changed[:, 60:80, 70:90, :3] = 0.9
    assert torch.equal(NODES[node](changed, two, None), NODES[node](changed, four, None))


@pytest.mark.parametrize("node", NODES)
@pytest.mark.parametrize(
    ("place", "given"),
    [
        (0, torch.rand(1, 160, 160, 5)), (1, torch.rand(1, 3, 160, 160)), (0, torch.rand(1, 160, 160)),
        (1, torch.rand(0, 160, 160, 3)), (0, torch.zeros(1, 160, 160, 3, dtype=torch.uint8)), (1, torch.rand(160, 160)),
        (0, torch.rand(1, 2, 160, 160, 3)), (0, None), (1, None), (1, [torch.rand(1, 160, 160, 3)]),
        (2, torch.rand(1, 160, 160, 3)), (2, torch.rand(0, 160, 160)), (2, torch.rand(7)), (2, {"mask": MASK}),
    ],
)  # fmt: skip
def test_other_shapes_and_missing_inputs_are_refused_in_one_line(node: str, place: int, given: Any) -> None:
    inputs = [tensor(REPLACED), tensor(BEFORE), None]
    inputs[place] = given
    if node == "match" and place == 2:
        return
    with pytest.raises(ValueError, match=f"`{('edited', 'original', 'mask')[place]}` (takes|is missing)") as refused:
        NODES[node](*inputs)
    assert "\n" not in str(refused.value)
    assert given is None or not isinstance(given, torch.Tensor) or str([*given.shape]) in str(refused.value)


@pytest.mark.slow
def test_different_images_stop_the_graph_and_are_named(tmp_path: Path) -> None:
    other = scene(side=160, seed=11)
    edits = tensor(REPLACED, other)
    for node in ("keep", "match"):
        with pytest.raises(ImageError, match=r"edited image 2 .*cannot be aligned"):
            NODES[node](edits, tensor(BEFORE), None)
    assert not images.check_edit(edits, tensor(BEFORE)).passed
    for name, pixels in (("a", BEFORE), ("b", other)):
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    with pytest.raises(ImageError, match=r"b\.png cannot be aligned"):
        images.keep_files(tmp_path / "b.png", tmp_path / "a.png", tmp_path / "c.png")
    assert not (tmp_path / "c.png").exists()


@pytest.mark.parametrize("originals", [1, 2])
def test_layers_compose_to_the_kept_image_as_comfyui_composes_them(originals: int) -> None:
    before, edited = tensor(*[BEFORE] * originals), tensor(*[REPLACED] * originals)
    made = images.keep_change(edited, before)
    document = images.layers(before, made.image)
    assert document["version"] == 1
    assert document["canvas"] == (BEFORE.shape[1], BEFORE.shape[0])
    assert [layer["name"] for layer in document["layers"]] == ["original", "change"] * originals
    shown = torch.zeros(BEFORE.shape)
    for layer in document["layers"]:
        alpha = 1 - layer["mask"][0, ..., None] if "mask" in layer else 1.0
        shown = ((1 - alpha) * shown**2.2 + alpha * layer["image"][0] ** 2.2) ** (1 / 2.2)  # in linear light
    torch.testing.assert_close(shown, made.image[-1], atol=1e-5, rtol=0)


def test_cancel_ends_the_computation() -> None:
    class StopError(Exception):
        pass

    def stop(_task: str, done: int, _total: int) -> None:
        if done == 1:
            raise StopError

    with pytest.raises(StopError):
        images.keep_change(tensor(SHIFTED), tensor(BEFORE), progress=stop)
    assert not images._analyzed


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((0, 1, 5), (0.0, 0.25, 0.5, 0.75, 1.0)),
        ((-1, 1, 3), (-1.0, 0.0, 1.0)),
        ((0.1, 0.7, 7), (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)),
        ((1, 0, 2), (1.0, 0.0)),
        ((0, 0.8, 1), (0.8,)),
    ],
)
def test_strengths_are_even_and_end_at_the_last(arguments: tuple[float, float, int], expected: tuple[float]) -> None:
    assert pack("sweeps").strengths(*arguments) == expected


def test_the_built_pack_carries_keep(tmp_path: Path) -> None:
    built = from_file(PACK / "build.py").build(tmp_path)
    (carried,) = importlib.metadata.distributions(path=[str(built / "carried")])
    assert (carried.name, carried.version) == ("latentedit", importlib.metadata.version("latentedit"))
    assert (built / "carried/latentedit/keeping/api.py").is_file()
    assert not list(built.rglob("__pycache__"))
