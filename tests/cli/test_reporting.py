"""What is said of a result: every row, on numbers that are known."""

import dataclasses
import math
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch

from latentedit.cli.model_choice import ModelChoice
from latentedit.cli.reporting import (
    cross_talk_rows,
    how,
    replay_command,
    result_json,
    result_rows,
    table_rows,
)
from latentedit.core.cost import Cost
from latentedit.editing.result import EditResult
from latentedit.editing.verbs import edit, identify, manipulate
from latentedit.latents.encode import encode
from tests.editors.colours import ColourBackbone
from tests.editors.edits import grey

SIZE = "12.5 % of the pixels changed, by 20 % of full scale"
BEFORE = {"hair": "black", "mouth": "smile"}
SAME = {"read_before": BEFORE, "read_after": BEFORE}
READ = {"read_before": BEFORE, "read_after": BEFORE | {"hair": "red"}}
TALK = torch.tensor([[1.0, -0.25], [0.5, 1.0]], dtype=torch.float64)


@pytest.fixture(scope="module")
def result() -> EditResult:
    found = edit(ColourBackbone(), grey(), to="red", caption="grey", strength=0.5, method="eim")
    effect = dataclasses.replace(found.effect, changed_share=0.125, change_rms=0.2, rest_psnr_db=math.inf)
    verdict = dataclasses.replace(found.verdict, word="partly done", share=0.4, reason="", remedy="")
    cost = Cost(evaluations=48.0, seconds=1.25, peak_bytes=250_000_000, verdict_evaluations=8.0)
    return dataclasses.replace(found, effect=effect, verdict=verdict, cost=cost)


def rows(result: EditResult, **more: Any) -> dict[str, str]:
    return dict(
        result_rows(
            result,
            **({"effect": result.effect, "origin": "given", "sheet": None, "again": "latentedit replay x"} | more),
        )
    )


@pytest.mark.parametrize(
    ("changes", "label", "text"),
    [
        ({"target_caption": ""}, "target", "not known in words"),
        (
            {"verdict": {"word": "damaged", "reason": "it is", "remedy": "less strength"}},
            "verdict",
            "damaged: it is (less strength); every other pixel as it was",
        ),
        ({"effect": {"rest_psnr_db": 41.7}}, "verdict", "partly done (40 %); the rest of the picture agrees to 42 dB"),
        ({"strength": 1.0, "effect": READ}, "effect", f"hair black -> red; {SIZE}"),
        (
            {"strength": 1.0, "effect": READ | {"read_after": BEFORE}},
            "effect",
            f"no attribute reads differently; {SIZE}",
        ),
        ({"effect": READ}, "effect", SIZE),  # half a change is not read
    ],
)
def test_a_row_by_hand(result: EditResult, changes: dict[str, Any], label: str, text: str) -> None:
    parts = {
        name: dataclasses.replace(getattr(result, name), **changes[name]) for name in {"verdict", "effect"} & {*changes}
    }
    assert rows(dataclasses.replace(result, **(changes | parts)), origin="read")[label] == text
    assert rows(result, origin="read")["caption"] == "grey (read; --from to correct)"


def test_every_row_of_a_result(result: EditResult) -> None:
    assert result_rows(
        result, effect=result.effect, origin="given", sheet=Path("s.png"), again="latentedit replay x"
    ) == [
        ("caption", "grey (given)"),
        ("target", "red"),
        ("method", "eim, strength 0.50"),
        ("verdict", "partly done (40 %); every other pixel as it was"),
        ("effect", SIZE),
        ("cost", "48 evaluations and 8 for the verdict, 1.2 s, 250 MB"),
        ("sheet", "s.png"),
        ("again", "latentedit replay x"),
    ]


def test_several_directions_have_a_strength_each() -> None:
    model = ColourBackbone()
    latent = encode(model, grey(), caption="grey")
    directions = [identify(latent, to=to) for to in ("red", "blue")]
    found = manipulate(latent, directions, strength=[0.5, -0.3])
    assert how(found) == "eim, strengths 0.50, -0.30"
    talk = rows(found)["cross-talk"]
    assert talk.endswith("1, 2")
    assert found.cross_talk is not None
    assert result_json(found, effect=found.effect)["cross_talk"] == found.cross_talk.tolist()


def test_cross_talk_is_a_table_with_names() -> None:
    assert cross_talk_rows(None) == []
    (label, head), *body = cross_talk_rows(TALK, ["a hat", "a very long name of a direction"])
    assert label == "cross-talk"
    assert head == "share of each column's change that comes with each row's: a hat, a very long name of a direction"
    assert body == [
        ("", f"{'a hat':<24} +1.000 -0.250"),
        ("", "a very long name of a di +0.500 +1.000"),
    ]
    assert body == table_rows(TALK, ["a hat", "a very long name of a direction"])
    assert cross_talk_rows(TALK)[0][1].endswith(": 1, 2")


def test_the_command_that_makes_a_file_again_names_what_it_needs(bundled: Path, tmp_path: Path) -> None:
    picture, other = tmp_path / "me.png", tmp_path / "other" / "out.png"
    near = tmp_path / "out.png"
    assert replay_command(near, picture=picture, choice=ModelChoice(model="portraits")) == f"latentedit replay {near}"
    directions = [tmp_path / "a.safetensors", tmp_path / "it's.safetensors"]
    choice = ModelChoice(model="org/name", device="cpu", dtype="float32", placement="model")
    mask = tmp_path / "a mask.png"
    command = replay_command(other, picture=picture, choice=choice, mask=mask, directions=directions)
    words = shlex.split(command)
    assert words[:5] == ["latentedit", "replay", str(other), "--picture", str(picture)]
    assert words[5:9] == [word for place in directions for word in ("--direction", str(place))]
    assert words[9:] == ["--mask", str(mask), "--model", "org/name", "--placement", "model"]
