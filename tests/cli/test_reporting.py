"""Reports of a result: numbers of its rows and of its JSON, and the command that reproduces it."""

import dataclasses
import shlex
from pathlib import Path
from typing import Any

import pytest

from latentedit.cli.edit import detail_rows, replay_command, result_json, result_rows
from latentedit.cli.options import ModelChoice
from latentedit.editing.result import EditResult
from latentedit.editing.verbs import edit, identify, manipulate
from latentedit.encoding.encode import encode
from latentedit.encoding.joint import Familiarity
from latentedit.numerics.cost import Cost
from tests.editors.colors import ColorBackbone
from tests.editors.edits import gray


@pytest.fixture(scope="module")
def result() -> EditResult:
    found = edit(ColorBackbone(), gray(), prompt="red", source_prompt="gray", strength=0.5, method="eim")
    cost = Cost(evaluations=48.0, seconds=1.25, peak_bytes=250_000_000, verdict_evaluations=8.0)
    return dataclasses.replace(found, cost=cost)


def details(result: EditResult) -> dict[str, str]:
    return dict(detail_rows(result, effect=result.effect, origin="given", again="latentedit replay x"))


def test_an_edit_prints_its_change_the_verdict_the_files_and_how_to_undo_it(result: EditResult) -> None:
    rows = result_rows(result, output=Path("a red.png"), sheet=Path("s.png"))
    assert [label for label, _ in rows] == ["change", "verdict", "sheet", "undo"]
    found = dict(rows)
    assert found["change"] == "gray => red, strength 0.5"
    assert found["verdict"] == result.verdict.text
    assert found["undo"] == "latentedit undo 'a red.png'"
    assert ".png" in dict(result_rows(result, output=Path("red.jpg")))["undo"]


def test_the_caption_is_printed_where_the_model_may_not_know_the_image(result: EditResult) -> None:
    facts: dict[str, Any] = {"caption_fits": True, "caption_read": True, "evaluations": 6}
    doubtful = Familiarity(state="doubtful", number=2.0, reason="colors", **facts)
    found = dict(result_rows(dataclasses.replace(result, knowledge=doubtful), output=Path("red.png")))
    assert found["caption"].startswith("gray")


def test_details_are_the_captions_the_effect_and_the_cost(result: EditResult) -> None:
    found = details(result)
    assert (found["caption"], found["target"], found["method"]) == ("gray (given)", "red", "eim")
    assert found["again"] == "latentedit replay x"
    assert found["cost"] == "48 evaluations, 8 to judge the result, 1.2 s, 250 MB"
    guarded = dataclasses.replace(result, cost=dataclasses.replace(result.cost, guard_evaluations=7.0))
    assert "7 to check the image" in details(guarded)["cost"]
    before = {"hair": "black", "mouth": "smile"}
    read = dataclasses.replace(result.effect, read_before=before, read_after=before | {"hair": "red"})
    assert "hair black -> red" in details(dataclasses.replace(result, effect=read, strength=1.0))["effect"]
    unread = dataclasses.replace(read, read_after=None)  # half changes are not read again
    assert "hair" not in details(dataclasses.replace(result, effect=unread))["effect"]


def test_several_directions_have_a_strength_each_and_cross_talk() -> None:
    latent = encode(ColorBackbone(), gray(), source_prompt="gray")
    found = manipulate(latent, [identify(latent, prompt=to) for to in ("red", "blue")], strength=[0.5, -0.3])
    change = dict(result_rows(found, output=Path("both.png")))["change"]
    assert change == "gray => red; gray => blue, strengths 0.5, -0.3"
    assert found.cross_talk is not None
    assert result_json(found, effect=found.effect)["cross_talk"] == found.cross_talk.tolist()
    assert details(found)["cross-talk"].endswith("1, 2")


def test_the_replay_command_names_what_it_needs(bundled: Path, tmp_path: Path) -> None:
    image, other = tmp_path / "me.png", tmp_path / "other" / "out.png"
    near = tmp_path / "out.png"
    assert replay_command(near, image=image, choice=ModelChoice(model="portraits")) == f"latentedit replay {near}"
    directions = [tmp_path / "a.safetensors", tmp_path / "it's.safetensors"]
    choice = ModelChoice(model="org/name", device="cpu", dtype="float32")
    mask = tmp_path / "a mask.png"
    words = shlex.split(replay_command(other, image=image, choice=choice, mask=mask, directions=directions))
    assert words[:5] == ["latentedit", "replay", str(other), "--image", str(image)]
    assert words[5:9] == [word for place in directions for word in ("--direction", str(place))]
    assert words[9:] == ["--mask", str(mask), "--model", "org/name"]
