"""Results are reproduced from their records bit for bit, or the reason is reported."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from latentedit.core.errors import ConfigError, RegistryError
from latentedit.editing.outputs import same_image
from latentedit.editing.replay import differences, replay
from latentedit.editing.result import EditResult
from latentedit.editing.verbs import edit, identify, manipulate
from latentedit.editors.eim import EIM
from latentedit.encoding.encode import ImageLike, encode
from latentedit.encoding.images import MaskLike
from latentedit.encoding.record import RunRecord
from latentedit.identification.direction import Direction
from latentedit.identification.hsds import HSDS
from tests.editing.test_undo import half_mask
from tests.editors.colors import ColorBackbone
from tests.editors.edits import gray

ARMS = ["image", "text", "joint"]
OTHERS = ["sdedit", "inversion", "aligned-inversion", "flowedit", "flowslider", "splitflow"]
BEYOND = [(method, strength) for method in ("eim", "inversion", "flowslider") for strength in (-0.7, 1.4)]


def again(
    result: EditResult, image: ImageLike, directions: Sequence[Direction] = (), mask: MaskLike | None = None
) -> EditResult:
    """The result reproduced from its record as in a file, by a new model."""
    model = ColorBackbone()
    model.defaults = result.latent.backbone.defaults
    record = RunRecord.from_json(result.record.to_json(), "a file")
    (found,) = replay(record, model, image, directions=directions, mask=mask)
    assert same_image(found.image, result.image)
    assert found.record == result.record
    assert differences(record, found.record) == []
    assert (found.caption, found.target_caption) == (result.caption, result.target_caption)
    assert found.verdict == result.verdict
    assert found.effect == result.effect
    return found


@pytest.mark.slow_except("eim-0.0")
@pytest.mark.parametrize(("method", "strength"), [*((name, 0.4) for name in ("eim", *OTHERS)), ("eim", 0.0), *BEYOND])
def test_every_editor_is_replayed(colors: ColorBackbone, tmp_path: Path, method: str, strength: float) -> None:
    """For any name of the image, down to the bytes of the file."""
    paths = [tmp_path / name for name in ("me.png", "other.png", "a.png", "b.png")]
    for path in paths[:2]:
        gray(1, (9, 7), "RGBA").save(path)
    result = edit(colors, paths[0], prompt="green", method=method, strength=strength, seed=5)
    result.save(paths[2])
    again(result, paths[1]).save(paths[3])
    assert paths[2].read_bytes() == paths[3].read_bytes()
    assert not result.record.recipe.settings.get("captions"), "they follow from the captions of the record"


@pytest.mark.slow_except("text")
@pytest.mark.parametrize("arm", ARMS)
def test_every_arm_is_replayed_at_independent_strengths(colors: ColorBackbone, arm: Any) -> None:
    latent = encode(colors, gray())
    direction = identify(latent, prompt="red", seed=2)
    for strength in (0.3, 1.0, -0.5, 0.0):
        result = manipulate(latent, direction, strength=strength, arm=arm, level=0.5, steps=6)
        assert result.record.directions[0].given is False
        again(result, gray())
    editor = EIM(arm=arm, level=0.5, steps=6, search=HSDS(steps=3))
    again(edit(colors, gray(), prompt="red", method=editor, strength=0.3, seed=7), gray())


@pytest.mark.slow_except("sum-1.0")
@pytest.mark.parametrize(
    ("combine", "strength"), [("sum", 1.0), ("sum", [0.5, -0.3]), ("inverse", [0.5, -0.3]), ("projection", [0.0, 1.0])]
)
def test_several_directions_are_replayed(colors: ColorBackbone, combine: Any, strength: Any) -> None:
    latent = encode(colors, gray(), source_prompt="gray")
    directions = [identify(latent, prompt=to, seed=seed) for seed, to in enumerate(["red", "blue"])]
    result = manipulate(latent, directions, strength=strength, combine=combine)
    found = again(result, gray())
    assert result.cross_talk is not None
    assert found.cross_talk is not None
    assert torch.equal(found.cross_talk, result.cross_talk)
    assert found.record.recipe.combine == combine


@pytest.fixture
def record(colors: ColorBackbone) -> RunRecord:
    return edit(colors, gray(), prompt="red", source_prompt="gray").record


@pytest.mark.parametrize(
    ("damage", "along", "more", "words"),
    [
        ({}, {}, {"image": gray(1)}, "`image`"),
        ({}, {}, {"mask": half_mask((8, 8))}, "mask"),
        ({}, {"given": True}, {}, "`directions`"),
        ({"settings": {"stepz": 3}}, {}, {}, "'steps'"),
        ({"settings": {"search": {"levels": 5}}}, {}, {}, "levels"),
        ({"method": "sdedit", "settings": {}}, {}, {}, "'sdedit'"),
        ({"method": "eimm"}, {}, {}, "'eim'"),
        ({}, {"settings": {"levels": [{}, {}]}}, {}, "settings"),
    ],
)
def test_records_that_are_invalid_or_do_not_fit_are_rejected(
    colors: ColorBackbone,
    record: RunRecord,
    damage: dict[str, Any],
    along: dict[str, Any],
    more: dict[str, Any],
    words: str,
) -> None:
    direction = record.directions[0].model_copy(update=along)
    record = record.model_copy(update={"recipe": record.recipe.plain(**damage)})
    with colors.count() as cost, pytest.raises((ConfigError, RegistryError), match=words):
        replay(record.model_copy(update={"directions": (direction,)}), colors, **({"image": gray()} | more))
    assert cost.evaluations == 0


def test_another_mask_or_model_is_rejected(colors: ColorBackbone) -> None:
    masked = edit(colors, gray(), prompt="red", source_prompt="gray", mask=half_mask((8, 8))).record
    other = half_mask((8, 8)).transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    for mask in (None, other):
        with pytest.raises(ConfigError):
            replay(masked, colors, gray(), mask=mask)
    assert replay(masked, colors, gray(), mask=half_mask((8, 8)))[0].record == masked
    colors.fingerprint = "another-2"
    with pytest.raises(ConfigError):
        replay(masked, colors, gray(), mask=half_mask((8, 8)))


def test_differences_of_records_are_listed(record: RunRecord) -> None:
    direction = record.directions[0]
    now = record.model_copy(
        update={
            "versions": {**{k: v for k, v in record.versions.items() if k != "python"}, "torch": "9.9", "new": "1"},
            "model": record.model.model_copy(update={"dtype": "bfloat16", "device": "cuda"}),
            "directions": (direction.model_copy(update={"fingerprint": "0" * 16}),),
        }
    )
    assert differences(record, now) == [
        "new changed: none -> 1",
        f"python changed: {record.versions['python']} -> none",
        f"torch changed: {record.versions['torch']} -> 9.9",
        "dtype changed: float32 -> bfloat16",
        "device changed: cpu -> cuda",
        f"direction 1 changed: {direction.fingerprint} -> {'0' * 16}",
    ]


def test_autocast_is_a_difference(colors: ColorBackbone) -> None:
    """It changes the numbers of networks whose own dtype stays what it is."""
    with torch.autocast("cpu", torch.bfloat16):
        inside = edit(colors, gray(), prompt="green", method="sdedit", seed=5).record
    outside = RunRecord.from_json(
        edit(colors, gray(), prompt="green", method="sdedit", seed=5).record.to_json(), "a file"
    )
    assert differences(inside, outside) == ["autocast changed: bfloat16 -> none"]
    assert differences(outside, outside) == []


@pytest.mark.parametrize(
    ("method", "settings"),
    [("eim", {"search": {"projection": "neumann"}}), ("loco", {"iterations": 3})],
)
def test_settings_that_are_gone_are_named_with_what_still_works(
    colors: ColorBackbone, method: str, settings: dict[str, Any]
) -> None:
    record = edit(colors, gray(), prompt="green", method="sdedit", seed=5).record
    recipe = record.recipe.plain(method=method, settings=settings)
    with pytest.raises(ConfigError, match=r"another version .* `undo`"):
        replay(record.model_copy(update={"recipe": recipe}), colors, gray())


@pytest.mark.parametrize("local", [True, False])
def test_successive_edits_with_a_mask_are_replayed(colors: ColorBackbone, local: bool) -> None:
    source = gray(2, (60, 52))
    mask = half_mask(source.size)
    latent = encode(colors, source, source_prompt="gray", mask=mask)
    direction = identify(latent, prompt="red")
    first = manipulate(latent, direction, strength=0.4, auto_mask=local)
    second = manipulate(first.latent, direction, strength=0.5, auto_mask=local)
    for result in (first, second):
        again(result, source, mask=mask)
