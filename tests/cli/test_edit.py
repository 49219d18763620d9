"""``latentedit edit``: a whole edit on a tiny model, and every kind of wrong input refused in one line."""

import dataclasses
import functools
import json
import shlex
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from latentedit.api.outputs import read_record, same_picture
from latentedit.core.errors import ConfigError, UnknownPictureWarning
from latentedit.latents.captions.endpoint import VisionEndpoint
from tests.api.viewer.pages import data_of, rebuilt
from tests.commands import Command, Refused
from tests.keep.test_pictures import BAD
from tests.latents.fake_endpoint import Answer, FakeEndpoint, fake_endpoint, says
from tests.latents.unknown import not_known

pytestmark = pytest.mark.slow

FROM, TO = "a person with no glasses", "a person with glasses"
KEY = "sk-test-0123456789"


@pytest.fixture
def arguments(picture: Path, miniature: Path) -> list[object]:
    return ["edit", picture, "--from", FROM, "--to", TO, "--model", miniature, "--device", "cpu"]


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.nightly
def test_an_edit_writes_picture_and_sheet_and_says_what_it_did(
    command: Command, arguments: list[object], picture: Path, tmp_path: Path
) -> None:
    outcome = command(*arguments, "--sheet", tmp_path / "sheet.png")
    assert outcome.code == 0, outcome.err
    lines = outcome.out.splitlines()
    assert lines[0] == f"{picture} -> {tmp_path / 'me.edited.png'}"
    labels = ["caption", "target", "method", "verdict", "effect", "cost", "sheet", "again"]
    assert [line.split()[0] for line in lines[1:]] == labels
    assert f"{FROM} (given)" in outcome.out
    assert "eim, strength 1.00" in outcome.out
    assert "evaluations" in outcome.out
    assert Image.open(tmp_path / "me.edited.png").size == (56, 40)
    assert Image.open(tmp_path / "sheet.png").width > 3 * 56
    assert files(tmp_path) == ["me.edited.json", "me.edited.png", "me.png", "sheet.json", "sheet.png"]
    assert read_record(tmp_path / "me.edited.png").target_caption == TO
    assert read_record(tmp_path / "sheet.png").output == "sheet"


def test_what_jpeg_does_to_the_rest_is_measured_in_the_file(
    command: Command, arguments: list[object], picture: Path, tmp_path: Path
) -> None:
    """At strength 0, so that everything is the rest."""
    place = tmp_path / "out.jpg"
    said = command(*arguments, "--strength", 0, "-o", place).out
    before, after = (np.asarray(Image.open(one).convert("RGB"), float) for one in (picture, place))
    near = np.abs(before - after).max(axis=2) <= 8
    measured = 10 * np.log10(255**2 / np.mean((before - after)[near] ** 2))
    assert f"the rest of the picture agrees to {measured:.0f} dB (JPEG; write .png" in said
    assert "every other pixel as it was" in command(*arguments, "--strength", 0, "-o", tmp_path / "out.png").out


def test_an_edit_with_a_page_that_shows_it(command: Command, arguments: list[object], tmp_path: Path) -> None:
    outcome = command(*arguments, "--strength", 0.5, "--view", tmp_path / "me.edited.html")
    assert outcome.code == 0, outcome.err
    assert f"view        {tmp_path / 'me.edited.html'}" in outcome.out
    assert files(tmp_path) == ["me.edited.html", "me.edited.json", "me.edited.png", "me.png"]
    told = data_of((tmp_path / "me.edited.html").read_text("utf-8"))
    assert [frame["strength"] for frame in told["frames"]] == [0, 0.5]
    assert same_picture(rebuilt(told, told["frames"][1]), Image.open(tmp_path / "me.edited.png"))


@pytest.mark.nightly
def test_the_command_that_is_named_makes_the_file_again(
    command: Command, arguments: list[object], mask: Path, tmp_path: Path
) -> None:
    """From another folder, with a mask, and with a model that is not bundled."""
    (tmp_path / "its out").mkdir()
    output = tmp_path / "its out" / "o.png"
    outcome = command(*arguments, "--mask", mask, "-o", output)
    assert outcome.code == 0, outcome.err
    again = shlex.split(outcome.out.splitlines()[-1].split(maxsplit=1)[1])
    assert again[:2] == ["latentedit", "replay"]
    outcome = command(*again[1:])
    assert outcome.code == 0, outcome.err
    assert "yes, byte for byte" in outcome.out
    assert (tmp_path / "its out" / "o.again.png").read_bytes() == output.read_bytes()


def _changed(arguments: list[object], *changes: str) -> list[object]:
    """The same with changes instead of a target caption."""
    place = arguments.index("--to")
    return [*arguments[:place], *arguments[place + 2 :], *(item for change in changes for item in ("--change", change))]


@pytest.mark.nightly
@pytest.mark.parametrize("mixing", ["sum", "inverse", "projection"])
def test_several_changes_have_a_strength_each_and_cross_talk(
    command: Command, arguments: list[object], tmp_path: Path, mixing: str
) -> None:
    several = _changed(arguments, "no glasses => glasses", "=> a smile")
    outcome = command(*several, "--strength", 0.7, "--strength", 0.3, "--mixing", mixing)
    assert outcome.code == 0, outcome.err
    assert "a person with glasses, a smile" in outcome.out
    assert "eim, strengths 0.70, 0.30" in outcome.out
    labels = [line.split()[0] for line in outcome.out.splitlines()[1:]]
    assert labels[5:] == ["cross-talk", "1", "2", "cost", "again"]
    record = read_record(tmp_path / "me.edited.png")
    assert [direction.strength for direction in record.directions] == [0.7, 0.3]
    assert [direction.given for direction in record.directions] == [False, False]
    assert record.mixing == mixing
    facts = json.loads(command(*several, "--json", "-o", tmp_path / "j.png").out)
    assert facts["cross_talk"][0][0] == facts["cross_talk"][1][1] == 1
    assert command("replay", tmp_path / "me.edited.png", "--model", arguments[-3]).code == 0
    again = tmp_path / "me.edited.again.png"
    assert again.read_bytes() == (tmp_path / "me.edited.png").read_bytes()


@pytest.mark.nightly
def test_what_is_added_and_removed_are_changes(command: Command, picture: Path, miniature: Path) -> None:
    """In the order --change, --add, --remove, in which their strengths are given."""
    said = ("--from", "a person with a beard", "--model", miniature, "--json")
    wanted = ("--remove", "a beard", "--add", "glasses", "--change", "person => man")
    strengths = ("--strength", 0, "--strength", 0.1, "--strength", 0.2)
    edited = json.loads(command("edit", picture, *said, *wanted, *strengths).out)
    assert [(one["target_caption"], one["strength"]) for one in edited["record"]["directions"]] == [
        ("a man with a beard", 0),
        ("a person with a beard, glasses", 0.1),
        ("a person", 0.2),
    ]
    swept = json.loads(command("sweep", picture, *said, *wanted, "--strengths", "0,1").out)
    assert swept["target"] == "a man with glasses"


@pytest.mark.nightly
def test_directions_instead_of_words(
    command: Command, picture: Path, miniature: Path, made: Callable[..., Path], tmp_path: Path
) -> None:
    """The same file as `direction apply` writes, and made again by the command that is named."""
    files = (made("a"), made("b", to="a person with no glasses, a smile"))
    where = ("--from", FROM, "--model", miniature, "--mixing", "inverse", "-o")
    strengths = ("--strength", 0.5, "--strength", "-0.3")
    given = ("--direction", files[0], "--direction", files[1], *strengths)
    outcome = command("edit", picture, *given, *where, tmp_path / "e.png")
    assert outcome.code == 0, outcome.err
    assert "eim, strengths 0.50, -0.30" in outcome.out
    assert command("direction", "apply", *files, *strengths, "--on", picture, *where, tmp_path / "a.png").code == 0
    assert (tmp_path / "e.png").read_bytes() == (tmp_path / "a.png").read_bytes()
    assert read_record(tmp_path / "a.png").mixing == "inverse"
    outcome = command(*shlex.split(outcome.out.splitlines()[-1].split(maxsplit=1)[1])[1:])
    assert "yes, byte for byte" in outcome.out
    facts = json.loads(command("edit", picture, *given, *where, tmp_path / "j.png", "--json").out)
    assert facts["directions"] == [str(file) for file in files]


def test_either_words_or_directions(
    refused: Refused, arguments: list[object], picture: Path, made: Callable[..., Path], tmp_path: Path
) -> None:
    file = made("a")
    assert "exclude each other" in refused(*arguments, "--direction", file)
    assert "exclude each other" in refused(*arguments, "--direction", file, "--change", "=> a smile")
    bare = ["edit", picture, "--from", FROM, "--direction", file]
    assert "'flowedit' cannot move along a --direction. Use --method eim" in refused(*bare, "--method", "flowedit")
    assert "no such file" in refused(*bare, "--direction", tmp_path / "no.safetensors")
    assert "2 changes" in refused(*bare, "--direction", file, *("--strength", 1) * 3)
    assert "nothing says what the picture should show" in refused("edit", picture, "--from", FROM)
    assert "OLD => NEW" in refused(*_changed(arguments, "a smile"))


@pytest.mark.nightly
def test_several_changes_at_strength_0_are_the_picture(
    command: Command, arguments: list[object], picture: Path, tmp_path: Path
) -> None:
    outcome = command(*_changed(arguments, "no glasses => glasses", "=> a smile"), "--strength", 0)
    assert outcome.code == 0, outcome.err
    assert np.array_equal(Image.open(tmp_path / "me.edited.png"), Image.open(picture))


@pytest.mark.nightly
def test_another_method_makes_several_changes_at_once(
    command: Command, arguments: list[object], refused: Refused
) -> None:
    several = [*_changed(arguments, "no glasses => glasses", "=> a smile"), "--method", "flowedit"]
    outcome = command(*several, "--strength", 0.5)
    assert outcome.code == 0, outcome.err
    assert "a person with glasses, a smile" in outcome.out
    assert "flowedit, strength 0.50" in outcome.out
    assert "cross-talk" not in outcome.out
    outcome = command(*several, "--strength", 0.5, "--strength", 0.2)
    assert outcome.code == 2
    assert "'flowedit' cannot give each change a --strength of its own" in outcome.err


@pytest.mark.nightly
def test_a_local_change_leaves_more_as_it_was(command: Command, arguments: list[object], tmp_path: Path) -> None:
    changes = []
    for option in ("--local", "--no-local"):
        facts = json.loads(command(*arguments, option, "--json", "-o", tmp_path / f"{option[2:]}.png").out)
        assert facts["record"]["local"] == (option == "--local")
        changes.append(np.abs(_levels(tmp_path / f"{option[2:]}.png") - _levels(tmp_path / "me.png")))
    assert changes[0].sum() < changes[1].sum()
    assert json.loads(command(*arguments, "--json").out)["record"]["local"] is True
    assert json.loads(command(*arguments, "--json", "--method", "flowedit").out)["record"]["local"] is False


def _levels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path)).astype(int)


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeEndpoint]:
    """A captioner behind an address on this machine, which is asked impatiently."""
    hasty = functools.partial(VisionEndpoint, timeout_seconds=0.3)
    monkeypatch.setattr("openai._base_client.time.sleep", lambda _: None)
    monkeypatch.setattr("latentedit.latents.captions.endpoint.VisionEndpoint", hasty)
    with fake_endpoint() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        yield server


def test_a_captioner_behind_an_endpoint(
    command: Command, picture: Path, miniature: Path, tmp_path: Path, endpoint: FakeEndpoint
) -> None:
    endpoint.answers = [says(FROM)]
    outcome = command(
        "edit", picture, "--captioner", "openai:m", "--change", "no glasses => glasses", "--model", miniature
    )
    assert outcome.code == 0, outcome.err
    assert f"{FROM} (read; --from to correct)" in outcome.out
    assert len(endpoint.requests) == 1
    for place in (tmp_path / "me.edited.png", tmp_path / "me.edited.json"):
        for secret in (KEY, endpoint.url, str(tmp_path)):
            assert secret.encode() not in place.read_bytes()
            assert secret not in read_record(tmp_path / "me.edited.png").to_json()


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (dataclasses.replace(says("too late"), silent=True), "0.3"),
        (says("  ."), "caption"),
        (Answer(status=401, body=b"{}"), "401"),
        (Answer(body=b"nothing"), "without JSON"),
    ],
)
def test_a_captioner_that_fails(
    refused: Refused, picture: Path, miniature: Path, endpoint: FakeEndpoint, answer: Answer, words: str
) -> None:
    endpoint.answers = [answer] * 3
    wanted = ("--change", "no glasses => glasses", "--model", miniature)
    found = refused("edit", picture, "--captioner", "openai:m", *wanted)
    assert words in found
    assert KEY not in found


def test_json_is_one_object(command: Command, arguments: list[object], tmp_path: Path) -> None:
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


def test_quiet_and_debug(command: Command, arguments: list[object]) -> None:
    outcome = command(*arguments, "--quiet")
    assert (outcome.code, outcome.out, outcome.err) == (0, "", "")
    with pytest.raises(ConfigError):
        command(*arguments, "--strength=nan", "--debug")


def test_words_that_were_dropped_are_named_in_a_warning(command: Command, arguments: list[object]) -> None:
    words = " ".join(["person"] * 30 + ["zebra"])
    outcome = command(*arguments, "--to", words)
    assert outcome.code == 0
    assert "warning: " in outcome.err
    assert "zebra" in outcome.err


@pytest.mark.nightly
def test_the_bundled_name_is_the_default(command: Command, picture: Path, bundled: Path) -> None:
    outcome = command("edit", picture, "--from", FROM, "--to", TO, "--json")
    assert json.loads(outcome.out)["record"]["model"]["name"] == "portraits"


@pytest.mark.parametrize("case", BAD)
def test_bad_pictures_and_masks(refused: Refused, picture: Path, miniature: Path, tmp_path: Path, case: str) -> None:
    write, _ = BAD[case]
    write(tmp_path / "bad.png")
    asked = ("--from", FROM, "--to", TO, "--model", miniature)
    assert "bad.png" in refused("edit", tmp_path / "bad.png", *asked)
    assert "bad.png" in refused("edit", picture, "--mask", tmp_path / "bad.png", *asked)


@pytest.mark.usefixtures("bundled", "mask")
@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("--strength nan", "strengths run from"),
        ("--strength 0.1 --strength 0.2", "one for each of 1 changes; got 2"),
        ("--to ''", "--to"),
        ("--from '  '", "--from"),
        ("--to 'a person \udcff'", "--to"),
        ("--from 'a person \udcff'", "--from"),
        ("--change '=> a smile'", "exclude each other"),
        ("--mixing summ", "'summ'"),
        ("--method flow-edit", "did you mean 'flowedit'"),
        ("--model portrait", "did you mean 'portraits'"),
        ("--device gpu7", "gpu7"),
        ("--captioner reader", "'reader'"),
        ("--captioner openai:", "openai:MODEL"),
        ("--mask no.png", "no such file"),
        ("-o nowhere/out.png", "does not"),
        ("-o out.psd", ".png"),
        ("--sheet me.png", "another name"),
        ("--view me.png", "ends in .html"),
        ("--view nowhere/x.html", "does not exist"),
        ("--mask 'a mask.png' -o 'a mask.png'", "another name"),
        ("-o x.png --sheet ./x.jpg", "would be one file"),
        ("-o other.png", "holds something else"),
    ],
)
def test_wrong_input_is_one_line(
    refused: Refused,
    arguments: list[object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    more: str,
    words: str,
) -> None:
    """The library's tests say more of each; here every option is shown to be heard."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other.json").write_text('{"name": "a package"}')
    before = {path: path.read_bytes() for path in tmp_path.glob("*.*")}
    asked = [arguments[0], arguments[1], *arguments[4:]] if "--captioner" in more else arguments
    assert words in refused(*asked, *shlex.split(more))
    assert {path: path.read_bytes() for path in tmp_path.glob("*.*")} == before


def test_a_model_that_cannot_read_needs_a_caption(refused: Refused, picture: Path, miniature: Path) -> None:
    assert "--from" in refused("edit", picture, "--to", TO, "--model", miniature)


def test_a_model_with_pickles_is_refused(refused: Refused, arguments: list[object], bundled: Path) -> None:
    weights = bundled / "transformer" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))
    assert "diffusion_pytorch_model.bin" in refused(*arguments, "--model", bundled)


@pytest.mark.parametrize("name", [".", "/", "..", ""])
def test_places_that_have_no_name(
    refused: Refused, arguments: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Nor any picture: here are two empty folders."""
    (tmp_path / "outer" / "inner").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "outer" / "inner")
    refused(*arguments, "-o", name)
    refused("edit", name, *arguments[2:])


@pytest.mark.usefixtures("unloaded")
def test_output_is_checked_before_the_model_is_loaded(
    command: Command, arguments: list[object], tmp_path: Path
) -> None:
    assert command(*arguments, "-o", tmp_path / "nowhere" / "out.png").code == 2
    assert command(*arguments, "--method", "nothing").code == 2
    with pytest.raises(AssertionError, match="loaded"):
        command(*arguments)


@pytest.fixture
def unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model knows no picture, and reads captions itself."""
    not_known(monkeypatch)


@pytest.mark.usefixtures("unknown")
def test_an_unknown_picture_is_refused_and_nothing_written(refused: Refused, arguments: list[object]) -> None:
    said = refused(*arguments)
    assert "does not know me.png: 21.5 x the loss" in said
    assert 0 < said.find("--model") < said.find("--anyway")


@pytest.mark.usefixtures("unknown")
def test_anyway_it_is_edited_and_said_to_be_unknown(command: Command, arguments: list[object], tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnknownPictureWarning)  # as the program does
        outcome = command(*arguments, "--anyway")
    assert outcome.code == 0, outcome.err
    lines = {line.split()[0]: line for line in outcome.out.splitlines()}
    assert "unknown: 21.5 x the loss of what the model draws itself; nothing that the model draws" in lines["picture"]
    assert not lines["verdict"].removeprefix("verdict").strip().startswith(("done", "partly done"))
    assert "6 for the guard" in lines["cost"]
    assert "warning: this picture is unknown to the model" in outcome.err
    assert "warning: the caption was read by a reader that was not made for such pictures" in outcome.err
    told = json.loads((tmp_path / "me.edited.json").read_text())
    assert told["results"][0]["knowledge"]["state"] == "unknown"


@pytest.mark.usefixtures("unknown")
def test_unknown_pictures_of_a_folder_are_left_out(command: Command, arguments: list[object], tmp_path: Path) -> None:
    many = ["edit", tmp_path, *arguments[2:], "-o", tmp_path / "run"]
    outcome = command(*many)
    assert outcome.code == 1
    assert "none edited, 1 failed" in outcome.out
    assert "does not know me.png" in outcome.err
