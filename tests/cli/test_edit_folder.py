"""``latentedit edit`` on a folder and a manifest: failures are reported, and stopped runs are resumed."""

import contextlib
import json
from pathlib import Path

import pandas as pd
import pytest

from latentedit.cli.edit import default_folder, is_many
from latentedit.core.errors import ConfigError
from tests.commands import FROM, TO, Command, Ran
from tests.editors.edits import noise


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three images, two of the same name and one of them damaged, and other files."""
    folder = tmp_path / "photos"
    folder.mkdir()
    noise((56, 40), seed=1).save(folder / "a.png")
    noise((64, 64), seed=2).save(folder / "a.jpg")
    (folder / "b.png").write_bytes((folder / "a.png").read_bytes()[:300])
    (folder / ".a.png").write_bytes(b"hidden")
    (folder / "notes.txt").write_text("nothing")
    return folder


@pytest.fixture
def words(photos: Path, miniature: Path) -> tuple[object, ...]:
    """In batches of one image, in this process."""
    options = ("--method", "sdedit", "--model", miniature, "--device", "cpu")
    return ("edit", photos, "--source-prompt", FROM, "--prompt", TO, "--batch", 1, "--workers", 1, *options)


def test_an_unknown_captioner_leaves_no_folder(command: Command, photos: Path, miniature: Path) -> None:
    outcome = command("edit", photos, "--prompt", TO, "--captioner", "nonsense", "--model", miniature)
    assert (outcome.code, "nonsense" in outcome.err) == (2, True)
    assert not photos.with_name(f"{photos.name}.edited").exists()


def test_json_quiet_and_another_command_on_the_same_folder(
    command: Command, words: tuple[object, ...], photos: Path, tmp_path: Path
) -> None:
    outcome = command(*words, "--json", "--strength", 0)
    assert outcome.code == 1
    facts = json.loads(outcome.out)
    assert facts["folder"] == str(tmp_path / "photos.edited")
    assert (facts["images"], facts["edited"], facts["verdicts"]) == (3, 2, {"not done": 2})
    assert [(one["item"], one["what"]) for one in facts["failures"]] == [("b.png", "sdedit")]
    for more, differing in (
        ([], "strength"),
        (["--strength", 0, "--prompt", "a person with a beard"], "prompt"),
    ):
        other = command(*words, *more)
        assert (other.code, other.out) == (2, "")
        assert f"contains a run that differs in: {differing}\nhint: Choose another folder with -o" in other.err
    (photos / "b.png").unlink()
    outcome = command(*words, "--quiet", "--strength", 0, "-o", tmp_path / "sound")
    assert (outcome.code, outcome.out, outcome.err) == (0, "", "")


@pytest.fixture
def manifest(photos: Path, tmp_path: Path) -> Path:
    """One image with two target captions, and another one."""
    (photos / "b.png").unlink()
    place = tmp_path / "list.csv"
    rows = [("a.png", TO, "glasses"), ("a.png", "a person with a smile", "A/smile"), ("a.jpg", TO, "Glasses")]
    lines = [f"photos/{name},{FROM},{target},{one}" for name, target, one in rows]
    place.write_text("\n".join(["image,source_caption,target_caption,id", *lines]))
    return place


@pytest.mark.nightly
def test_a_manifest_has_a_target_caption_per_image(
    ran: Ran, manifest: Path, words: tuple[object, ...], tmp_path: Path
) -> None:
    ran("edit", manifest, *words[8:])
    rows = pd.read_csv(tmp_path / "list.edited" / "rows.csv")
    assert list(rows["id"]) == ["glasses", "A/smile", "Glasses"]
    assert list(rows["target_caption"]) == [TO, "a person with a smile", TO]
    names = [f"images/{name}.edited.png" for name in ("glasses", "A%2Fsmile", "Glasses (2)")]
    assert list(rows["output"]) == names


def test_folders_and_lists_have_a_default_run_folder(tmp_path: Path) -> None:
    (tmp_path / "my.photos").mkdir()
    assert default_folder(tmp_path / "my.photos") == tmp_path / "my.photos.edited"
    assert default_folder(Path("some/list.csv")) == Path("some/list.edited")
    with contextlib.chdir(tmp_path / "my.photos"):
        assert default_folder(Path()) == tmp_path / "my.photos.edited"
    with pytest.raises(ConfigError):
        default_folder(Path("/"))
    assert is_many(tmp_path)
    assert is_many(Path("a.CSV"))
    assert not is_many(tmp_path / "a.png")
    assert not is_many(Path("a" * 5000))
