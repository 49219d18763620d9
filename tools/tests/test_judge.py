"""The judge of examples/judge.py, against a server on this machine and in closed form."""

import math
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

import latentedit as le
from latentedit.core.errors import CaptionError, ConfigError
from latentedit.encoding.captions.endpoint import VisionEndpoint
from tests.editors.colors import ColorBackbone
from tests.editors.edits import noisy
from tests.encoding.fake_endpoint import FakeEndpoint, fake_endpoint, text_answer
from tests.installed import from_file

judge = from_file(Path(__file__).parents[2] / "examples/judge.py")
LEFT, RIGHT = Image.new("RGB", (8, 6), "red"), Image.new("RGB", (8, 6), "blue")
WORDS = {"old": "red", "new": "blue"}


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeEndpoint]:
    with fake_endpoint() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        monkeypatch.setenv("OPENAI_API_KEY", "k")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        yield server


@pytest.mark.parametrize(("answer", "rating"), [("7", 7), ("**10**", 10), ("A 3 of 10.", 3), ("Rating: 0", 0)])
def test_both_images_and_the_request_are_sent(endpoint: FakeEndpoint, answer: str, rating: int) -> None:
    endpoint.answers = [text_answer(answer)]
    assert judge.rate(VisionEndpoint("m"), LEFT, RIGHT, **WORDS) == rating
    (request,) = endpoint.requests
    assert (request.image.size, request.image.getpixel((0, 0)), request.image.getpixel((15, 5))) == (
        (16, 6),
        (255, 0, 0),
        (0, 0, 255),
    )
    assert "'red'" in str(request.body["messages"])
    assert "strength" not in str(request.body["messages"])


@pytest.mark.parametrize("answer", ["I cannot tell.", "11", "-1", "7.5", "100"])
def test_an_answer_without_a_rating_is_refused(endpoint: FakeEndpoint, answer: str) -> None:
    endpoint.answers = [text_answer(answer)]
    with pytest.raises(CaptionError):
        judge.rate(VisionEndpoint("m"), LEFT, RIGHT, **WORDS)


def test_gradualness_in_closed_form() -> None:
    rising = judge.gradualness([0, 0.5, 1], [0, 4, 10])
    assert (rising.correlation, rising.falls, rising.largest_step) == (pytest.approx(1), 0, pytest.approx(0.6))
    jump = judge.gradualness([0, 0.3, 0.6, 1], [0, 0, 10, 9])
    assert (jump.falls, jump.largest_step) == (1, pytest.approx(10 / 9))
    assert jump.correlation == pytest.approx(3.5 / math.sqrt(5 * 4.5))  # ranks 1.5, 1.5, 4, 3
    flat = judge.gradualness([0, 1], [5, 5])
    assert (math.isnan(flat.correlation), flat.falls, math.isnan(flat.largest_step)) == (True, 0, True)


def test_strengths_are_rated_in_their_order(
    endpoint: FakeEndpoint,
    colors: ColorBackbone,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    noisy().save(tmp_path / "red.png")
    monkeypatch.setattr(le, "load", lambda name: colors, raising=False)
    ratings = {("flowedit", "red"): (0, 4, 9), ("flowedit", "also"): (0, 6, 5), ("sdedit", "red"): (3, 3, 3)}
    ratings |= {("sdedit", "also"): (1, 5, 5)}
    endpoint.answers = [text_answer(str(rating)) for row in ratings.values() for rating in row]
    noisy().save(tmp_path / "also.png")
    images = [str(tmp_path / name) for name in ("red.png", "also.png")]
    arguments = [*images, "--change", "red => green", "--method", "flowedit", "sdedit"]
    found = judge.main([*arguments, "--judge", "openai:m", "--strengths", "1", "0", "0.5"])
    assert [one.ratings for ones in found.values() for one in ones] == list(ratings.values())
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2] == "flowedit, 2 images: rank correlation 0.75, falls 0.5"
    assert lines[-1].startswith("sdedit, 2 images: rank correlation 0.87"), "equal ratings have none"
    width = endpoint.requests[0].image.width // 2
    left, right = (endpoint.requests[0].image.crop((x, 0, x + width, 1)) for x in (0, width))
    assert left.tobytes() == right.tobytes()  # strength 0 is the original
    with pytest.raises(ConfigError):
        judge.main([*arguments, "--judge", "colors"])
