"""The viewer of edits: what results say of themselves, and files that are the same again."""

from pathlib import Path

import pytest

import latentedit
from latentedit.api.outputs import read_record, same_picture
from latentedit.api.replay import replay
from latentedit.api.result import EditResult, write_sweep
from latentedit.api.verbs import edit, identify, manipulate, sweep
from latentedit.api.viewer import from_results, view
from latentedit.core.errors import ConfigError
from latentedit.latents.encode import encode
from tests.api.viewer.pages import data_of, rebuilt
from tests.editors.colours import ColourBackbone
from tests.editors.edits import noisy

pytestmark = pytest.mark.slow


@pytest.fixture
def swept(colours: ColourBackbone, tmp_path: Path) -> list[EditResult]:
    noisy().save(tmp_path / "me.png")
    latent = encode(colours, tmp_path / "me.png")
    return sweep(latent, identify(latent, to="green"), strengths=[1.0, -0.5, 0.5])


def test_everything_that_results_say_of_themselves(swept: list[EditResult]) -> None:
    told = data_of(latentedit.view(swept).html)
    assert (told["title"], told["name"]) == ("me.png: green", "me")
    assert told["captions"] == [[["red", True]], [["green", True]]]
    assert [frame["strength"] for frame in told["frames"]] == [-0.5, 0, 0.5, 1]
    whole, result = told["frames"][-1], swept[0]
    labels = {one.strength: one.verdict.label for one in swept}
    assert {frame["strength"]: frame["verdict"] for frame in told["frames"] if frame["strength"]} == labels
    assert whole["lines"][0] == "colour red -> green"
    assert "% of the pixels changed" in whole["lines"][1]
    assert same_picture(rebuilt(told, whole), result.image)
    assert view(swept, title="mine").title == "mine"


def test_the_same_sweep_is_the_same_page(colours: ColourBackbone, swept: list[EditResult], tmp_path: Path) -> None:
    """Seconds and memory differ, and are not told."""
    write_sweep(swept, tmp_path / "a.html")
    again = replay(read_record(tmp_path / "a.html"), colours, tmp_path / "me.png")
    write_sweep(again, tmp_path / "b.html")
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_of_large_pictures_no_more_is_decoded(colours: ColourBackbone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(from_results, "MOST_UNDO_PIXELS", 100)
    result = edit(colours, noisy(size=(20, 6)), to="green")
    monkeypatch.setattr(ColourBackbone, "decode", lambda *_: pytest.fail("decoded"))
    (frame,) = view(result).frames
    assert frame.payload is None
    assert frame.record == result.record


def test_pictures_of_one_view_are_one_picture(colours: ColourBackbone) -> None:
    results = [edit(colours, noisy(seed), to="green") for seed in (1, 2)]
    with pytest.raises(ConfigError, match="results of 2"):
        view(results)
    with pytest.raises(ConfigError, match="got none"):
        view([])


def test_what_goes_on_from_an_edit_begins_there(colours: ColourBackbone) -> None:
    """In the latent: the file shows neither change."""
    latent = encode(colours, noisy())
    there = manipulate(latent, identify(latent, to="green"), strength=0.5)
    further = sweep(there.latent, identify(there.latent, to="blue"), strengths=[0.0, 1.0])
    told = data_of(view(further).html)
    assert not same_picture(there.image, there.source)
    assert same_picture(rebuilt(told, told["frames"][0]), there.image)
    assert same_picture(rebuilt(told, told["frames"][1]), further[1].image)
