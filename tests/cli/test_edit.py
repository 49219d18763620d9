"""``latentedit edit`` with a tiny model: files, JSON and exit codes."""

import functools
import json
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from latentedit.core.errors import ConfigError, LatentEditWarning
from latentedit.editing.outputs import read_record, same_image
from latentedit.encoding.captions.endpoint import VisionEndpoint
from tests.commands import FROM, TO, Command, Ran, Refused
from tests.encoding.fake_endpoint import FakeEndpoint, fake_endpoint, text_answer
from tests.folders import names_in
from tests.keep.viewer.pages import data_of, rebuilt

KEY = "sk-test-0123456789"


@pytest.fixture
def arguments(image: Path, miniature: Path) -> list[object]:
    return ["edit", image, "--source-prompt", FROM, "--prompt", TO, "--model", miniature, "--device", "cpu"]


def test_the_loss_of_jpeg_is_measured_in_the_written_file(
    command: Command, arguments: list[object], image: Path, tmp_path: Path
) -> None:
    """At strength 0, where everything is the rest."""
    place = tmp_path / "out.jpg"
    text = command(*arguments, "--strength", 0, "-o", place, "--json").out
    before, after = (np.asarray(Image.open(one).convert("RGB"), float) for one in (image, place))
    near = np.abs(before - after).max(axis=2) <= 8
    measured = 10 * np.log10(255**2 / np.mean((before - after)[near] ** 2))
    assert json.loads(text)["effect"]["rest_psnr_db"] == pytest.approx(measured, abs=0.1)


def test_an_edit_writes_a_viewer(ran: Ran, arguments: list[object], tmp_path: Path) -> None:
    ran(*arguments, "--strength", 0.5, "--view", tmp_path / "me.edited.html")
    assert names_in(tmp_path) == ["me.edited.html", "me.edited.json", "me.edited.png", "me.png"]
    report = data_of((tmp_path / "me.edited.html").read_text("utf-8"))
    assert [frame["strength"] for frame in report["frames"]] == [0, 0.5]
    assert same_image(rebuilt(report, report["frames"][1]), Image.open(tmp_path / "me.edited.png"))


@pytest.fixture
def endpoint(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeEndpoint]:
    """A captioning server on this machine, with a short timeout."""
    hasty = functools.partial(VisionEndpoint, timeout_seconds=0.3)
    monkeypatch.setattr("latentedit.encoding.captions.endpoint.VisionEndpoint", hasty)
    with fake_endpoint() as server:
        environment |= {"OPENAI_BASE_URL": server.url, "OPENAI_API_KEY": KEY, "NO_PROXY": "127.0.0.1"}
        yield server


@pytest.mark.slow
def test_captions_come_from_an_endpoint_and_its_key_is_not_stored(
    ran: Ran, image: Path, miniature: Path, tmp_path: Path, endpoint: FakeEndpoint
) -> None:
    endpoint.answers = [text_answer(FROM)]
    wanted = ("--captioner", "openai:m", "--change", "no glasses => glasses", "--json")
    facts = json.loads(ran("edit", image, *wanted, "--model", miniature))
    assert (facts["caption"], facts["caption_origin"]) == (FROM, "captioned")
    assert len(endpoint.requests) == 1
    for place in (tmp_path / "me.edited.png", tmp_path / "me.edited.json"):
        for secret in (KEY, endpoint.url, str(tmp_path)):
            assert secret.encode() not in place.read_bytes()
            assert secret not in read_record(tmp_path / "me.edited.png").to_json()


@pytest.mark.slow
def test_an_endpoint_writes_both_captions_of_an_instruction(
    ran: Ran, image: Path, miniature: Path, endpoint: FakeEndpoint
) -> None:
    endpoint.answers = [text_answer(f"SOURCE: {FROM}\nTARGET: {TO}")]
    wanted = ("--captioner", "openai:m", "--instruction", "put glasses on", "--json")
    facts = json.loads(ran("edit", image, *wanted, "--model", miniature))
    assert (facts["caption"], facts["target"], facts["caption_origin"]) == (FROM, TO, "captioned")
    (request,) = endpoint.requests
    assert "put glasses on" in str(request.body["messages"])


def test_json_output_is_one_object(command: Command, arguments: list[object], tmp_path: Path) -> None:
    outcome = command(*arguments, "--json", "--strength", 0, "--seed", 3, "--sheet", tmp_path / "sheet.png")
    facts = json.loads(outcome.out)
    assert facts["caption"] == FROM
    assert facts["caption_origin"] == "given"
    assert facts["target"] == TO
    assert facts["strength"] == 0
    assert facts["effect"]["changed_share"] == 0
    assert facts["effect"]["rest_psnr_db"] is None  # infinite, for which JSON has no word
    assert facts["cost"]["evaluations"] == 0
    assert facts["record"]["seed"] == 3
    assert facts["output"] == str(tmp_path / "me.edited.png")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["edit", "sweep"])
def test_nothing_is_computed_for_a_verdict_that_nobody_wants(
    command: Command, arguments: list[object], name: str, tmp_path: Path
) -> None:
    wanted = arguments[1:] + (["--strengths", "0,1"] if name == "sweep" else [])
    both: list[list[dict[str, Any]]] = []
    for more in ([], ["--no-verdict"]):
        command(name, *wanted, *more)
        (record,) = tmp_path.glob("*.json")
        both.append(json.loads(record.read_text())["results"])
        record.unlink()
    for judged, unjudged in zip(*both, strict=True):
        assert (judged["verdict"]["word"] == "not judged", unjudged["verdict"]["word"]) == (False, "not judged")
        assert unjudged["cost"]["verdict_evaluations"] == 0 < judged["cost"]["verdict_evaluations"]
        assert unjudged["cost"]["evaluations"] == judged["cost"]["evaluations"]
        assert unjudged["effect"] == judged["effect"]


def test_quiet_and_debug_affect_only_the_output(command: Command, arguments: list[object]) -> None:
    outcome = command(*arguments, "--quiet", "--strength", 0)
    assert (outcome.code, outcome.out, outcome.err) == (0, "", "")
    with pytest.raises(ConfigError):
        command(*arguments, "--strength=nan", "--debug")


def test_unknown_images_are_edited_only_with_force(
    command: Command, refused: Refused, arguments: list[object], tmp_path: Path, unknown_images: Callable[..., object]
) -> None:
    unknown_images()
    line = refused(*arguments)
    assert all(part in line for part in ("me.png", "--force", "latentedit keep"))
    many = command("edit", tmp_path, *arguments[2:], "-o", tmp_path / "run")
    assert many.code == 1
    assert "me.png" in many.err
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LatentEditWarning)  # the program ignores them, too
        outcome = command(*arguments, "--force")
    assert outcome.code == 0, outcome.err
    assert outcome.err.startswith("warning: ")
    report = json.loads((tmp_path / "me.edited.json").read_text())
    assert report["results"][0]["knowledge"]["state"] == "unknown"
