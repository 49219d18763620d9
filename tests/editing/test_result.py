"""Results: verdicts, notes, costs, and edits that continue from them."""

import dataclasses
import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from latentedit.core.errors import ModelError, ShapeError
from latentedit.core.recipe import Recipe
from latentedit.editing.effect import measure_effect
from latentedit.editing.measuring import measured
from latentedit.editing.result import EditResult
from latentedit.editors.base import StrengthResult
from latentedit.editors.moving import Moved
from latentedit.encoding.encode import encode
from latentedit.encoding.joint import JointLatent
from latentedit.encoding.record import DirectionRecord, ImageRecord, ModelRecord, RunRecord, versions
from latentedit.identification.locality import local_change
from latentedit.numerics.cost import metered
from tests.editors.colors import COLORS, ColorBackbone, ColorReader

SHIFT = torch.tensor(COLORS["green"]) - torch.tensor(COLORS["red"])  # from red to green


@pytest.fixture
def latent(colors: ColorBackbone) -> JointLatent:
    """Two red images of 8 px, the second a little lighter."""
    return encode(colors, [Image.new("RGB", (8, 8), (204 + by, 76 + by, 76 + by)) for by in (0, 4)])


def results(
    latent: JointLatent,
    *moved: StrengthResult,
    targets: Sequence[str] = ("green", "green"),
    cross_talk: Tensor | None = None,
    **record: Any,
) -> list[list[EditResult]]:
    """Per strength one result per image; what the recipe and the record have may be given."""
    own = {name: record.pop(name) for name in ("auto_mask", "subtract_residual") if name in record}
    recipe = Recipe(**{"method": "a way", "settings": {"k": 1}, "auto_mask": True, "subtract_residual": 0.0} | own)
    records = [
        RunRecord(
            **{
                "recipe": recipe,
                "seed": 3,
                "model": ModelRecord.of(latent.backbone),
                "versions": versions(),
                "image": ImageRecord.of(frame.image),
                "caption": caption,
                "target_caption": target,
                "strengths": (1.0,),
                "evaluations": 0,
                "before": latent.provenance,
            }
            | record
        )
        for frame, caption, target in zip(latent.frames, latent.captions, targets, strict=True)
    ]
    with metered(latent.backbone) as meter:
        images = measured(latent, towards_green(latent, moved, records, cross_talk), records, meter)
    return [list(row) for row in zip(*images, strict=True)]


def towards_green(
    latent: JointLatent, steps: Sequence[StrengthResult], records: list[RunRecord], cross_talk: Tensor | None = None
) -> Moved:
    target = latent.backbone.embed(["green"] * len(latent))
    return Moved(
        recipe=records[0].recipe, steps=steps, target=target, evaluations=[7] * len(steps), cross_talk=cross_talk
    )


def at(
    latent: JointLatent, strength: float, *, limits: Sequence[float] = (math.nan, math.nan), **more: object
) -> StrengthResult:
    """Moved this far towards green."""
    z = latent.z + strength * SHIFT[:, None, None] if strength else latent.z
    return StrengthResult(**({"z": z, "strength": strength, "limit": torch.tensor(limits)} | more))


def test_results_are_ordered_by_strength_and_image(latent: JointLatent) -> None:
    strengths = [1.0, 0.0, 0.5]
    rows = results(latent, *(at(latent, strength) for strength in strengths))
    assert [[result.strength for result in row] for row in rows] == [[strength] * 2 for strength in strengths]
    for strength, row in zip(strengths, rows, strict=True):
        for result, source in zip(row, latent.frames, strict=True):
            assert result.source is source.image.image
            change = np.asarray(result.image, dtype=float) - np.asarray(result.source, dtype=float)
            expected = 127.5 * strength * SHIFT[:, None, None].numpy()
            assert np.abs(change.transpose(2, 0, 1) - expected).max() <= 0.51  # rounded to whole levels
            assert (result.caption, result.target_caption) == ("red", "green")
            assert result.effect.read_before == {"color": "red"}
            assert result.method == "a way"
            assert result.record.recipe.settings == {"k": 1}
            assert result.record.seed == 3
    assert [row[0].effect.read_after for row in rows[:2]] == [{"color": "green"}, {"color": "red"}]
    assert [row[0].verdict.word for row in rows] == ["done", "not done", "damaged"]


def test_results_have_a_verdict_and_notes(latent: JointLatent) -> None:
    """Half way between two colors, images count as damaged, unless the threshold is raised."""
    latent.backbone.defaults = {"judge": {"damage": 1000.0}}
    ((first, second),) = results(latent, at(latent, 0.5))
    assert first.verdict.word == second.verdict.word == "partly done"
    assert first.verdict.share == pytest.approx(0.5, abs=0.05)
    moved = at(latent, 3.0, limits=(1.25, math.nan), notes=("found oddly",))
    ((first, second),) = results(latent, moved, targets=("mauve", "green"))
    clamped = "strength 3 was clamped to 1.25, the largest that is predicted to do no damage"
    assert first.notes == ("unknown color in 'mauve'", "found oddly", clamped)
    assert second.notes == ("found oddly",)
    for strength, limit, clamped in ((1.5, 1.5, False), (-1.5, -1.6, False), (-1.5, -1.2, True)):
        ((result, _),) = results(latent, at(latent, strength, limits=(limit, limit)))
        assert bool(result.notes) == clamped


def test_a_model_without_thresholds_gives_no_share_but_a_remedy(latent: JointLatent) -> None:
    """A drawn portrait was "partly done (49 %)" to a network of galaxies."""
    latent.backbone.defaults = {"judge": {"damage": 1000.0}}
    ((known, _),) = results(latent, at(latent, 0.5))
    latent.backbone.defaults = {}
    ((unknown, _),) = results(latent, at(latent, 0.3))
    assert (known.verdict.share, unknown.verdict.share, unknown.verdict.opacity) == (
        pytest.approx(0.5, abs=0.05),
        None,
        None,
    )
    assert "calibrate" in unknown.verdict.text
    assert "calibrate" not in known.verdict.text
    assert "%" not in unknown.verdict.text


def test_costs_are_shared_and_judging_is_counted_separately(latent: JointLatent) -> None:
    """Two evaluations per image and strength before; judging takes four per latent, less what the latent has."""
    moved = [at(latent, 1.0), at(latent, 0.0), at(latent, -1.0)]
    backbone, record = latent.backbone, results(latent, moved[0])[0][0].record
    with metered(backbone) as meter:
        backbone.velocity(latent.z.repeat(6, 1, 1, 1), torch.full((12,), 0.5), latent.condition.repeat(6))
        assert meter().evaluations == 12
        rows = measured(latent, towards_green(latent, moved, [record] * 2), [record] * 2, meter)
        costs = {(result.cost.evaluations, result.cost.verdict_evaluations) for row in rows for result in row}
        # 12 among six; of the image under the target 2, and after two of three strengths 4 each, among three
        assert costs == {(2.0, 10 / 3)}
        cost = meter()
    assert cost.evaluations == 12 + 2 * 10
    assert 0 < 6 * rows[0][0].cost.seconds <= cost.seconds


def test_latents_that_are_not_finite_are_rejected(latent: JointLatent) -> None:
    z = latent.z.clone()
    z[1, 0, 0, 0] = math.inf
    with pytest.raises(ModelError):
        results(latent, at(latent, 1.0), at(latent, 1.0, z=z))


def test_readers_see_clipped_pixels(latent: JointLatent, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = list[Tensor]()
    monkeypatch.setattr(ColorReader, "read", lambda _, pixels: seen.append(pixels) or [{}] * len(pixels))
    results(latent, at(latent, 9.0), at(latent, -9.0))
    assert (float(seen[0].min()), float(seen[0].max())) == (-1, 1)


@pytest.mark.parametrize("local", [True, False])
def test_a_local_change_is_the_strong_part_of_a_change(latent: JointLatent, local: bool) -> None:
    ramp = torch.linspace(0, -0.4, 8)[None, None, None].expand(2, 3, 8, 8).clone()
    rows = results(latent, at(latent, 1.0, z=latent.z + ramp), at(latent, 0.0), auto_mask=local)
    expected = 127.5 * (local_change(ramp) if local else ramp).permute(0, 2, 3, 1).numpy()
    for result, change in zip(rows[0], expected, strict=True):
        got = np.asarray(result.image, dtype=float) - np.asarray(result.source, dtype=float)
        assert np.abs(got - change).max() <= 0.51
        assert result.record.recipe.auto_mask is local
        assert result.cost.evaluations == 0
    assert all(np.array_equal(np.asarray(result.image), np.asarray(result.source)) for result in rows[1])


def test_what_an_edit_drops_of_the_source_stays_dropped_in_the_next(latent: JointLatent) -> None:
    """An edit to gray, of images whose lines the codec draws with half of their contrast."""
    lines = 0.2 * (torch.arange(8) % 2).expand(3, 8, 8)
    frames = tuple(dataclasses.replace(frame, pixels=frame.pixels + lines) for frame in latent.frames)
    start = latent.z + lines / 2
    lossy = dataclasses.replace(latent, frames=frames, z=start, decoded=start)
    made, whole = (results(lossy, at(lossy, 1.0, z=0 * start), subtract_residual=share)[0][0] for share in (0.5, 0.0))
    difference = np.asarray(made.image, dtype=float) - np.asarray(whole.image, dtype=float)
    assert difference[:, 1::2].min() < -0.4 * 127.5 * 0.1
    assert difference[:, 0::2].max() == 0
    after = dataclasses.replace(made.latent, frames=frames[:1])
    ((same,),) = results(after, at(after, 0.0, limits=[math.nan], z=after.z), targets=("green",), before=made.record)
    assert np.array_equal(np.asarray(same.image), np.asarray(made.image))


@pytest.mark.parametrize("strength", [1.0, 0.25, -0.5])
def test_edits_can_continue_from_a_result(latent: JointLatent, strength: float) -> None:
    """Its latent is that of the edited image, and remembers that of the first one.

    The other way from the target it does not show what the target says.
    """
    ((_, result),) = results(latent, at(latent, strength))
    found = result.latent
    assert len(found) == 1
    assert torch.equal(found.z, latent.z[1:] + strength * SHIFT[:, None, None])
    assert found.start is not None
    assert torch.equal(found.start, latent.z[1:])
    assert found.decoded is not None
    assert torch.equal(found.decoded, latent.z[1:])
    assert found.captions == ("green" if strength > 0 else "red",)
    text = torch.lerp(torch.tensor(COLORS["red"]), torch.tensor(COLORS["green"]), strength)
    assert torch.allclose(found.condition.tokens, text[None, None])
    assert found.frames == latent.frames[1:]
    assert found.provenance is result.record
    ((still, _),) = results(latent, at(latent, 0.0))
    assert still.latent.captions == ("red",)
    assert torch.equal(still.latent.condition.tokens, latent.condition.tokens[:1])
    ((wordless, _),) = results(latent, at(latent, 1.0), targets=("", ""))
    assert wordless.latent.captions == ("red",)  # no words describe what it shows now
    assert (wordless.target_caption, wordless.notes) == ("", ())


def test_a_continued_edit_is_measured_against_the_first_image(latent: JointLatent) -> None:
    ((first, _),) = results(latent, at(latent, 0.5))
    moved = first.latent
    z = moved.z + 0.25 * SHIFT[:, None, None]
    ((second,),) = results(moved, StrengthResult(z=z, strength=1.0), targets=("green",))
    change = np.asarray(second.image, dtype=float) - np.asarray(latent.frames[0].image.image, dtype=float)
    assert np.abs(change - 127.5 * 0.75 * SHIFT.numpy()).max() <= 0.51
    assert torch.equal(second.latent.start, moved.start)
    bare = dataclasses.replace(moved, decoded=None)
    ((same,),) = results(bare, StrengthResult(z=z, strength=1.0), targets=("green",))
    assert np.array_equal(np.asarray(same.image), np.asarray(second.image))


def test_pixels_count_as_changed_from_nine_levels() -> None:
    before = Image.new("RGB", (2, 2), (100, 100, 100))
    assert measure_effect(before, Image.new("RGB", (2, 2), (108, 92, 100))).changed_share == 0
    assert measure_effect(before, Image.new("RGB", (2, 2), (100, 91, 100))).changed_share == 1
    effect = measure_effect(before, before.copy())
    assert (effect.changed_share, effect.change_rms, effect.rest_psnr_db) == (0.0, 0.0, math.inf)
    with pytest.raises(ShapeError):
        measure_effect(before, Image.new("RGB", (2, 3)))


def test_large_images_are_measured_exactly() -> None:
    """More than a million pixels, against the closed form."""
    draw = np.random.default_rng(3)
    before, after = (draw.integers(90, 110, (1100, 1000, 3)).astype(np.uint8) for _ in range(2))
    difference = np.abs(before.astype(int) - after)
    changed = difference.max(axis=2) > 8
    effect = measure_effect(Image.fromarray(before), Image.fromarray(after))
    assert effect.changed_share == pytest.approx(changed.mean())
    assert effect.change_rms == pytest.approx(np.sqrt(np.mean(difference[changed] ** 2.0)) / 255)
    rest = 10 * np.log10(255**2 / np.mean(difference[~changed] ** 2.0))
    assert effect.rest_psnr_db == pytest.approx(rest)


SIDE = 64
BOX = (slice(8, 40), slice(4, 60))


def plane(inside: int, outside: int) -> Image.Image:
    """Levels in a box and around it."""
    levels = np.full((SIDE, SIDE), outside, np.uint8)
    levels[BOX] = inside
    return Image.fromarray(levels)


RAMP = Image.fromarray(np.linspace(0, 255, SIDE)[:, None].repeat(SIDE, 1).astype(np.uint8))
SPOT = Image.fromarray(np.pad(np.full((3, 3), 255, np.uint8), (0, SIDE - 3)))
MASKS = {"none": None, "box": plane(255, 0), "around": plane(0, 255), "ramp": RAMP, "spot": SPOT}
GROUNDS = {"opaque": 255, "box": plane(255, 0), "around": plane(0, 255), "half": 128, "faint": 1, "clear": 0}


PLACES = [*itertools.product(MASKS, GROUNDS, ("all", "box"))]


@pytest.mark.parametrize(
    ("mask", "ground", "where", "local"),
    [(*place, (index + index // 2 + index // 12) % 2 == 0) for index, place in enumerate(PLACES)],
)
def test_only_what_the_saved_image_shows_is_done(mask: str, ground: str, where: str, local: bool) -> None:
    """A change to green of everything or of a box, against what NumPy sees of the image on white."""
    colors = ColorBackbone(sizes=(SIDE, SIDE, SIDE))
    colors.defaults = {"judge": {"damage": 1000.0}}
    image = Image.new("RGB", (SIDE, SIDE), (204, 76, 76))
    image.putalpha(GROUNDS[ground])
    latent = encode(colors, image, source_prompt="red", mask=MASKS[mask])
    change = SHIFT[:, None, None] * torch.ones(SIDE, SIDE)
    if where == "box":
        change *= torch.from_numpy(np.asarray(plane(1, 0)).copy())
    step = StrengthResult(z=latent.z + change, strength=1.0)
    (((result,),),) = [results(latent, step, targets=("green",), auto_mask=local)]
    seen = [
        np.asarray(Image.alpha_composite(Image.new("RGBA", image.size, "white"), one).convert("RGB"), float)
        for one in (image, result.image)
    ]
    made = np.clip(seen[0] + 127.5 * change.numpy().transpose(1, 2, 0), 0, 255) - seen[0]
    shown = seen[1] - seen[0]
    energies = (shown**2).sum() * (made**2).sum()
    kept = (shown * made).sum() ** 2 / energies if energies else 0.0  # share of the energy where something is shown
    word, large = result.verdict.word, bool((np.abs(shown) > 8).any())
    assert large == (result.effect.changed_share > 0)
    if kept < 0.04 or not large:
        assert word == "not done"
        assert result.latent.captions == ("red",)
    elif kept < 0.47:
        assert word in ("partly done", "not done")
        assert ("mask" in result.verdict.reason) == (mask != "none")
        assert result.latent.captions == ("red",)
    elif kept > 0.53:
        assert result.latent.captions == ("green",)
    if kept < 0.04:
        assert torch.equal(result.latent.z, latent.z)
    if mask == "none" and ground == "opaque":
        assert word == ("done" if where == "all" else "partly done")
    if word == "done":  # most of the visible image turned green
        assert large
        inside = np.abs(255 - seen[0]).sum(axis=2) > 8
        assert (seen[1][inside][:, 1] > seen[1][inside][:, 0]).mean() > 0.7


def test_an_inherited_mask_is_named_and_hides_the_next_change_too() -> None:
    colors = ColorBackbone(sizes=(SIDE, SIDE, SIDE))
    latent = encode(colors, Image.new("RGB", (SIDE, SIDE), (204, 76, 76)), source_prompt="red", mask=SPOT)
    step = StrengthResult(z=latent.z + SHIFT[:, None, None], strength=1.0)
    ((first,),) = results(latent, step, targets=("green",))
    ((second,),) = results(first.latent, step, targets=("green",))
    assert not any("mask" in note for note in first.notes)
    assert any("mask" in note for note in second.notes)
    assert [one.verdict.word for one in (first, second)] == ["not done", "not done"]
    assert second.latent.captions == ("red",)


def test_a_second_edit_is_judged_like_that_of_the_saved_image() -> None:
    """Also where a mask hides a part of what the latent of the first one is."""
    colors = ColorBackbone(sizes=(SIDE, SIDE, SIDE))
    colors.defaults = {"judge": {"damage": 1000.0}}
    first = encode(colors, Image.new("RGB", (SIDE, SIDE), (204, 76, 76)), source_prompt="red", mask=MASKS["box"])
    move = SHIFT[:, None, None]
    ((before,),) = results(first, StrengthResult(z=first.z + 0.2 * move, strength=1.0), targets=("green",))
    again = encode(colors, before.image, source_prompt="red", mask=MASKS["box"])
    verdicts = [
        results(one, StrengthResult(z=one.z + 0.2 * move, strength=1.0), targets=("green",))[0][0].verdict
        for one in (before.latent, again)
    ]
    assert 0 < verdicts[0].opacity < 1
    for name in ("share", "opacity", "residual"):
        one, other = (getattr(verdict, name) for verdict in verdicts)
        assert one == pytest.approx(other, rel=0.05)  # the automatic mask is that of both changes together
    assert verdicts[0].word == verdicts[1].word


def test_a_second_edit_starts_from_the_image_before_it(latent: JointLatent, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first one's change is neither made by the second nor, where it stays, unrequested."""
    ((first, _),) = results(latent, at(latent, 1.0))
    surely, seen = ColorReader.read_surely, list[list[dict[str, str]]]()
    monkeypatch.setattr(
        ColorReader, "read_surely", lambda self, pixels: seen.append(surely(self, pixels)) or surely(self, pixels)
    )
    ((still,),) = results(first.latent, StrengthResult(z=first.latent.z + 1e-3, strength=1.0), targets=("blue",))
    assert seen == [[{"color": "green"}, {"color": "green"}]]
    assert still.verdict.word == "not done"
    assert still.effect.changed_share == 1
    blue = torch.tensor(COLORS["blue"])[:, None, None].expand(1, 3, 8, 8)
    target = Moved(
        recipe=still.record.recipe,
        steps=[StrengthResult(z=blue, strength=1.0)],
        target=latent.backbone.embed(["blue"]),
        evaluations=[1],
    )
    with metered(latent.backbone) as meter:
        ((made,),) = measured(first.latent, target, [still.record.model_copy(update={"before": first.record})], meter)
    assert made.verdict.word == "done"


def test_parts_of_a_change_are_not_read(latent: JointLatent) -> None:
    for strength, read in ((1.0, True), (0.0, True), (0.5, False), (-0.5, False), (2.0, True)):
        ((result, _),) = results(latent, at(latent, strength))
        assert (result.effect.read_after is not None) == read
        assert (result.read_changes is not None) == read
    directions = tuple(
        DirectionRecord(
            fingerprint=str(share), method="m", settings={}, strength=share, target_caption="green", given=False
        )
        for share in (1.0, 0.5)
    )
    ((two, _),) = results(latent, at(latent, 1.0), directions=directions)
    assert two.effect.read_after is None
    assert two.strengths == (1.0, 0.5)
    ((half, _),) = results(latent, at(latent, 0.5), directions=directions)
    assert half.strengths == (0.5, 0.25)


def test_transparent_pixels_count_as_they_are_seen() -> None:
    before, after = (Image.new("RGBA", (4, 4), (level, 0, 0, 25)) for level in (200, 120))
    assert measure_effect(before, after).changed_share == 0  # a tenth of 80 levels
    before.putalpha(255)
    after.putalpha(255)
    assert measure_effect(before, after).changed_share == 1
