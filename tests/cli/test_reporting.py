"""Reports of a result: numbers of its rows and of its JSON, and the command that reproduces it."""

import dataclasses
import shlex
from pathlib import Path

import pytest

from latentedit.cli.edit import replay_command, result_json, result_rows
from latentedit.cli.options import ModelChoice
from latentedit.core.cost import Cost
from latentedit.editing.result import EditResult
from latentedit.editing.verbs import edit, identify, manipulate
from latentedit.encoding.encode import encode
from tests.editors.colors import ColorBackbone
from tests.editors.edits import gray


@pytest.fixture(scope="module")
def result() -> EditResult:
    found = edit(ColorBackbone(), gray(), prompt="red", source_prompt="gray", strength=0.5, method="eim")
    cost = Cost(evaluations=48.0, seconds=1.25, peak_bytes=250_000_000, verdict_evaluations=8.0)
    return dataclasses.replace(found, cost=cost)


def rows(result: EditResult) -> dict[str, str]:
    again, sheet = "latentedit replay x", Path("s.png")
    return dict(result_rows(result, effect=result.effect, origin="given", sheet=sheet, again=again))


def test_rows_contain_the_values_of_the_result(result: EditResult) -> None:
    found = rows(result)
    assert found["caption"].startswith("gray")
    assert (found["target"], found["sheet"], found["again"]) == ("red", "s.png", "latentedit replay x")
    assert found["method"] == "eim, strength 0.50"
    assert all(number in found["cost"] for number in ("48", "8", "1.2 s", "250 MB"))
    guarded = dataclasses.replace(result, cost=dataclasses.replace(result.cost, guard_evaluations=7.0))
    assert ("7 " in found["cost"], "7 " in rows(guarded)["cost"]) == (False, True)
    before = {"hair": "black", "mouth": "smile"}
    read = dataclasses.replace(result.effect, read_before=before, read_after=before | {"hair": "red"})
    assert "hair black -> red" in rows(dataclasses.replace(result, effect=read, strength=1.0))["effect"]
    unread = dataclasses.replace(read, read_after=None)  # half changes are not read again
    assert "hair" not in rows(dataclasses.replace(result, effect=unread))["effect"]


def test_several_directions_have_a_strength_each_and_cross_talk() -> None:
    latent = encode(ColorBackbone(), gray(), source_prompt="gray")
    found = manipulate(latent, [identify(latent, prompt=to) for to in ("red", "blue")], strength=[0.5, -0.3])
    assert rows(found)["method"].endswith("strengths 0.50, -0.30")
    assert found.cross_talk is not None
    assert result_json(found, effect=found.effect)["cross_talk"] == found.cross_talk.tolist()
    assert rows(found)["cross-talk"].endswith("1, 2")


def test_the_replay_command_names_what_it_needs(bundled: Path, tmp_path: Path) -> None:
    image, other = tmp_path / "me.png", tmp_path / "other" / "out.png"
    near = tmp_path / "out.png"
    assert replay_command(near, image=image, choice=ModelChoice(model="portraits")) == f"latentedit replay {near}"
    directions = [tmp_path / "a.safetensors", tmp_path / "it's.safetensors"]
    choice = ModelChoice(model="org/name", device="cpu", dtype="float32", placement="model")
    mask = tmp_path / "a mask.png"
    words = shlex.split(replay_command(other, image=image, choice=choice, mask=mask, directions=directions))
    assert words[:5] == ["latentedit", "replay", str(other), "--image", str(image)]
    assert words[5:9] == [word for place in directions for word in ("--direction", str(place))]
    assert words[9:] == ["--mask", str(mask), "--model", "org/name", "--placement", "model"]
