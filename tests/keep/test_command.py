"""``latentedit keep``: one image, folders, and rejected input."""

import json
import re
import shutil
import unicodedata
import warnings
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import ExifTags, Image

from latentedit.cli.check import share
from latentedit.core.errors import ConfigError, FileFormatError
from latentedit.keeping.api import keep
from latentedit.keeping.pairs import images_by_name, pairs_of
from latentedit.keeping.undoing import undo_difference
from latentedit.photo.images import read_pixels
from latentedit.photo.saving import read_chunks, save_image
from tests.commands import Command, Refused
from tests.keep.pairs import scene, with_object


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    places = tmp_path / "photo.jpg", tmp_path / "edited.png"
    Image.fromarray(scene()).save(places[0], quality=95)
    Image.fromarray(with_object(np.asarray(Image.open(places[0])))).resize((192, 192)).save(places[1])
    return places


@pytest.mark.parametrize("text", ["0.5", "1", "1.5", "2", "100", "101", "150%", "-1", "a tenth"])
def test_every_share_that_a_refusal_offers_is_accepted(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        share(text, "--max-outside")
    offers = re.findall(r"[\d.]+%", str(caught.value).rpartition("Write")[2])
    assert [0 <= share(one, "it") <= 1 for one in offers] == [True] * (2 if text in ("0.5", "1") else 1)


@pytest.mark.parametrize("kind", ["sheet", "sweep"])
def test_undo_takes_the_image_itself_and_not_what_shows_several(kind: str, tmp_path: Path, refused: Refused) -> None:
    source, edited = Image.fromarray(scene()), Image.fromarray(with_object(scene()))
    payload = undo_difference(source, edited)
    save_image(edited, tmp_path / "it.png", record=json.dumps({"output": kind}), payload=payload)
    assert f"is a {kind}" in refused("undo", tmp_path / "it.png")


@pytest.mark.nightly
def test_the_result_is_written_next_to_the_original(pair: tuple[Path, Path], command: Command) -> None:
    kept, view = pair[0].with_name("photo.kept.png"), pair[0].with_name("k.html")
    done = command("keep", *pair, "--only", "1", "--view", view, "--json")
    assert (done.code, done.err) == (0, "")
    report = json.loads(done.out)
    assert (report["found"], [one["number"] for one in report["changes"]]) == ("local change", [1])
    assert abs(report["zoom"] - 1) < 0.01
    assert report["outside_db_after"] is None  # identical
    assert "editor's image" in view.read_text(encoding="utf-8")
    assert json.loads(str(read_chunks(kept)[0]))["output"] == "kept"


@pytest.mark.nightly
def test_the_loss_of_jpeg_is_measured_in_the_written_file(
    pair: tuple[Path, Path], tmp_path: Path, command: Command
) -> None:
    report = json.loads(command("keep", *pair, "-o", tmp_path / "k.jpg", "--json").out)
    original, result = (np.asarray(Image.open(place), float)[120:] for place in (pair[0], tmp_path / "k.jpg"))
    measured = 10 * np.log10(255**2 / np.mean((original - result) ** 2))
    assert abs(report["outside_db_after"] - measured) < 3
    text = command("keep", *pair, "-o", tmp_path / "k.jpg").out
    assert f"everything else: {report['outside_db_after']:.1f} dB (JPEG; write .png" in text


def test_a_list_names_pairs_with_masks(tmp_path: Path, command: Command, refused: Refused) -> None:
    before, changed = scene(), scene()
    changed[60:90, 60:90] = 250
    mask = np.zeros((160, 160), dtype=np.uint8)
    (tmp_path / "images").mkdir()
    for name, image in (("a", before), ("b", changed), ("there", mask + 255), ("black", np.roll(before, 1, 2))):
        Image.fromarray(image).save(tmp_path / "images" / f"{name}.png")
    mask[100:] = 255
    Image.fromarray(mask).save(tmp_path / "images" / "elsewhere.png")
    rows = ("original,edited,mask,name", "a.png,b.png,there.png,x/y", "a.png,b.png,elsewhere.png,", "a.png,no.png,,z")
    (listed := tmp_path / "images" / "pairs.csv").write_text("\n".join(rows), encoding="utf-8")
    done = command("keep", listed, "-o", tmp_path / "kept", "--json")
    printed = json.loads(done.out)
    assert (done.code, set(printed["failed"])) == (1, {"a-b", "z"})
    assert [one["output"] is None for one in printed["results"]] == [False, True]
    assert [str(place) for place in (tmp_path / "kept").iterdir()] == [printed["results"][0]["output"]]
    np.testing.assert_array_equal(np.asarray(Image.open(printed["results"][0]["output"])), changed)
    assert "is an input folder" in refused("keep", listed, "-o", tmp_path / "images")
    assert "already names" in refused("keep", listed, "--mask", tmp_path / "images" / "there.png", "-o", tmp_path / "k")


def test_a_much_larger_result_of_a_jpeg_suggests_another_name(tmp_path: Path, command: Command) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (640, 640, 3)).astype(np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.jpg", quality=30)
    changed = np.array(Image.open(tmp_path / "a.jpg"))
    changed[100:200, 100:200] = 128
    Image.fromarray(changed).save(tmp_path / "b.png")
    for arguments, hints in (((), True), (("-o", tmp_path / "k.png"), False), (("--quiet",), False)):
        done = command("keep", tmp_path / "a.jpg", tmp_path / "b.png", *arguments)
        assert (done.code, "a.kept.jpg" in done.err) == (0, hints)


@pytest.mark.slow
def test_swapped_arguments_are_noticed_by_the_camera(pair: tuple[Path, Path], command: Command) -> None:
    camera = Image.Exif()
    camera[ExifTags.Base.Make] = "a camera"
    Image.open(pair[0]).save(pair[0], exif=camera)
    right, swapped = (command("keep", *files, "-o", pair[0].with_name("k.png")) for files in (pair, pair[::-1]))
    assert ("swapped" in right.err, "swapped" in swapped.err) == (False, True)


def test_only_visible_image_files_of_a_folder_are_listed(tmp_path: Path) -> None:
    for name in ("a.JPG", "b.png", "._b.png", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "c.png").mkdir()
    with pytest.warns(UserWarning, match=r": notes\.txt$"):
        found = images_by_name(tmp_path)
    assert found == ({"a": tmp_path / "a.JPG", "b": tmp_path / "b.png"}, {})


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["{0}", "{1}", "-o", "{0}"], "is the image itself"),
        (["{0}", "{1}", "-o", "{1}"], "is the image itself"),
        (["{0}", "{1}", "-o", "{t}/k.png", "--only", "one"], "--only"),
        (["{0}", "{1}", "-o", "{t}/k.png", "--strength", "70%"], "0.7"),
        (["{0}", "{1}", "-o", "{t}/k.png", "--strength", "0,7"], "0.7"),
        (["{0}", "{1}", "-o", "{t}/k.png", "--view", "{t}/k.png"], "k.png"),
        (["{t}/clear.png", "{1}", "-o", "{t}/k.jpg"], "transparency"),
        (["{0}", "{t}", "-o", "{t}/k"], "two folders"),
        (["{t}", "{t}"], "need an output folder"),
        (["{t}", "{t}", "-o", "{t}"], "is an input folder"),
        (["{t}", "{t}", "-o", "{t}/k.png"], "names the folder"),
        (["{t}", "{t}/none", "-o", "{t}/k"], "there is no "),
        (["{0}"], "edited image is missing"),
        (["{t}", "{t}", "-o", "{t}/k", "--mask", "{0}"], "others must be folders too"),
        (["{t}", "{t}", "-o", "{t}/k", "--only", "1"], "--only is for a single pair"),
        (["{t}", "{t}", "-o", "{t}/k", "--save-layer", "c.png"], "--save-layer is for a single pair"),
    ],
)
def test_wrong_arguments_are_rejected_and_change_no_file(
    arguments: list[str], why: str, pair: tuple[Path, Path], tmp_path: Path, refused: Refused
) -> None:
    Image.fromarray(scene()).convert("RGBA").save(tmp_path / "clear.png")
    before = {place: place.read_bytes() for place in tmp_path.iterdir()}
    line = refused("keep", *(one.format(*pair, t=tmp_path) for one in arguments))
    assert why in line
    assert {place: place.read_bytes() for place in tmp_path.iterdir()} == before


def test_a_folder_is_not_its_own_edit(tmp_path: Path, command: Command) -> None:
    Image.fromarray(scene()).save(tmp_path / "a.png")
    made = command("keep", tmp_path, tmp_path, "-o", tmp_path / "out")
    assert (made.code, (tmp_path / "out").exists()) == (2, False)


def test_a_quiet_folder_of_failures_prints_one_line(tmp_path: Path, command: Command) -> None:
    for folder in ("originals", "edited"):
        (tmp_path / folder).mkdir()
        for name in ("a.png", "b.png"):
            (tmp_path / folder / name).touch()
    run = ("keep", tmp_path / "originals", tmp_path / "edited", "-o", tmp_path / "kept")
    assert [line[:3] for line in command(*run).err.splitlines()] == ["a: ", "b: "]
    done = command(*run, "-q")
    assert (done.code, done.out, done.err.count("\n")) == (1, "", 1)
    assert all(part in done.err for part in ("2 images", "a: ", "empty"))
    for folder, pixels in (("originals", scene(40)), ("edited", with_object(scene(40), (20, 20), 8))):
        Image.fromarray(pixels).save(tmp_path / folder / "c.png")
    done = command(*run, "-q")
    assert (done.code, [line[:3] for line in done.err.splitlines()]) == (1, ["a: ", "b: "]), "c was kept"


def test_undo_of_a_kept_result_names_its_original(pair: tuple[Path, Path], command: Command, refused: Refused) -> None:
    assert command("keep", *pair, "-o", pair[0].with_name("k.png")).code == 0
    assert repr(pair[0].name) in refused("undo", pair[0].with_name("k.png"))


@pytest.mark.nightly
def test_a_kept_result_is_replayed_from_its_record(
    pair: tuple[Path, Path], tmp_path: Path, command: Command, refused: Refused
) -> None:
    mask = tmp_path / "mask.png"
    Image.fromarray(np.full((160, 160), 255, dtype=np.uint8)).save(mask)
    kept = tmp_path / "k.png"
    assert command("keep", *pair, "-o", kept, "--strength", "0.5", "--mask", mask).code == 0
    done = command("replay", kept, "-o", tmp_path / "again.png")  # the images lie beside it
    assert done.code == 0, done.err
    assert "yes, byte for byte" in done.out
    assert (tmp_path / "again.png").read_bytes() == kept.read_bytes()
    text = refused("replay", kept, "-o", tmp_path / "b.png", "--image", pair[0], "--edited", pair[0])
    assert "the edited image differs from the recorded one: it was edited.png" in text
    assert "--reference cannot be used here" in refused("replay", kept, "--reference", pair[0])
    assert "k.png is a result of latentedit keep" in refused("undo", kept)


SPELLINGS = [
    ("café", unicodedata.normalize("NFD", "café")),
    ("at 9 PM", "at 9\u202fPM"),
    ("한글", unicodedata.normalize("NFD", "한글")),
]


@pytest.mark.parametrize(("name", "other"), SPELLINGS)
@pytest.mark.parametrize("turned", [False, True])
def test_names_that_look_the_same_match_in_all_folders(name: str, other: str, turned: bool, tmp_path: Path) -> None:
    name, other = (other, name) if turned else (name, other)
    for folder, one in (("o", name), ("e", other), ("m", other)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"{one}.png").touch()
    expected = {
        name: tuple(tmp_path / folder / f"{one}.png" for folder, one in (("o", name), ("e", other), ("m", other)))
    }
    assert pairs_of(tmp_path / "o", tmp_path / "e", tmp_path / "m") == (expected, {})


@pytest.mark.filterwarnings("error")
def test_twins_are_matched_exactly_or_named(tmp_path: Path) -> None:
    composed, other = SPELLINGS[0]
    for folder, names in (("o", (composed, other)), ("e", (composed, other)), ("m", (other,)), ("one", (composed,))):
        (tmp_path / folder).mkdir()
        for one in names:
            (tmp_path / folder / f"{one}.png").touch()
    pairs, failed = pairs_of(tmp_path / "o", tmp_path / "e", tmp_path / "m")
    stems = {name: [one and one.stem for one in pair] for name, pair in pairs.items()}
    assert stems == {composed: [composed, composed, None], other: [other, other, other]}
    assert failed == {}
    third = unicodedata.normalize("NFD", composed).replace("c", "\uff43")  # looks like both of them
    (tmp_path / "one" / f"{other}.jpg").touch()
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / f"{third}.png").touch()
    pairs, failed = pairs_of(tmp_path / "plain", tmp_path / "one", None)
    assert (pairs, list(failed)) == ({}, [third])  # two edited images look like it
    pairs, failed = pairs_of(tmp_path / "one", tmp_path / "one", tmp_path / "o")
    assert composed in pairs


def test_a_mask_that_is_not_used_is_named(tmp_path: Path) -> None:
    for folder, name in (("o", "a"), ("e", "a"), ("m", "a_mask"), ("m", "b_mask")):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / f"{name}.png").touch()
    with pytest.warns(UserWarning, match=r"b_mask\.png"):
        pairs, failed = pairs_of(tmp_path / "o", tmp_path / "e", tmp_path / "m")
    assert (pairs["a"][2], failed) == (tmp_path / "m" / "a_mask.png", {})


@pytest.mark.slow_except("photo.kept.png")
@pytest.mark.parametrize("name", ["photo.kept.png", "photo.png", "photo.kept-2.png"])
def test_results_in_the_folder_are_no_originals(name: str, pair: tuple[Path, Path], tmp_path: Path) -> None:
    for folder in ("o", "e"):
        (tmp_path / folder).mkdir()
    shutil.copy(pair[0], tmp_path / "o" / "photo.jpg")
    shutil.copy(pair[1], tmp_path / "e" / "photo.png")
    keep(*pair).save(tmp_path / "o" / name)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        pairs, failed = pairs_of(tmp_path / "o", tmp_path / "e", None)
    assert ([*pairs], failed) == (["photo"], {})
    assert pairs["photo"][0].name == "photo.jpg"
    assert sum(name in str(one.message) for one in warned) == 1
    shutil.copy(pair[0], tmp_path / "o" / "other.jpg")
    with warnings.catch_warnings(action="ignore"):
        assert [*pairs_of(tmp_path / "o", tmp_path / "e", None)[1]] == ["other"]


@pytest.mark.parametrize("text", [
    "original;edited;mask\r\no.png;e.png;\r\n;;\r\n", ",,\n\noriginal,edited,mask\n,,\no.png,e.png, \n,,,\n",
    " Original , EDITED \no.png,e.png\n \n", ",Original,Edited\n0,o.png,e.png\n",
])  # fmt: skip
def test_empty_rows_and_other_headings_of_a_list(text: str, tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text(text, encoding="utf-8-sig")
    assert pairs_of(tmp_path / "l.csv", None, None) == ({"o": (tmp_path / "o.png", tmp_path / "e.png", None)}, {})


@pytest.mark.slow_except("photo (edited)-True", "photo copy-True", "photo-Bearbeitet-True", "photo-Edit-True")
@pytest.mark.parametrize(
    ("copy", "is_one"),
    [
        ("photo-Edit", True), ("photo (edited)", True), ("photo copy", True), ("photo_edited", True),
        ("photo copy 2", True), ("photo-Edit-2", True), ("photo-Enhanced-NR", True), ("photo-Bearbeitet", True),
        ("photo2", False), ("photos-Edit", False), ("Edit", False), ("same-2", False),
    ],
)  # fmt: skip
def test_names_of_edited_copies_match(copy: str, is_one: bool, pair: tuple[Path, Path], tmp_path: Path) -> None:
    for folder, image, name in (
        ("o", pair[0], "photo"),
        ("o", pair[0], "same"),
        ("e", pair[1], copy),
        ("e", pair[1], "same"),
    ):
        (tmp_path / folder).mkdir(exist_ok=True)
        shutil.copy(image, tmp_path / folder / f"{name}.png")
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        pairs, failed = pairs_of(tmp_path / "o", tmp_path / "e", None)
    assert (set(pairs), set(failed)) == (({"photo", "same"}, set()) if is_one else ({"same"}, {"photo", copy}))
    assert any("columns original and edited" in str(one.message) for one in warned) != is_one


def test_several_edits_of_one_photograph(
    pair: tuple[Path, Path], tmp_path: Path, command: Command, refused: Refused
) -> None:
    edits = [tmp_path / f"{name}.png" for name in ("hat", f"{pair[0].stem}-scarf")]
    for one in edits:
        shutil.copy(pair[1], one)
    done = command("keep", pair[0], *edits, "-o", tmp_path / "kept", "--quiet")
    assert done.code == 0
    stem = pair[0].stem
    assert sorted(one.name for one in (tmp_path / "kept").iterdir()) == sorted([f"{stem}-hat.png", f"{stem}-scarf.png"])
    assert "output folder" in refused("keep", pair[0], *edits)
    assert "there is no" in refused("keep", pair[0], edits[0], tmp_path / "none.png", "-o", tmp_path / "k")
    assert "two edited images" in refused("keep", pair[0], edits[0], edits[0], "-o", tmp_path / "k")


@pytest.mark.parametrize("gray", [False, True])
def test_a_tiff_of_16_bits_comes_back_as_one(gray: bool, tmp_path: Path, command: Command) -> None:
    before = np.repeat(scene()[..., :1], 3, axis=2) if gray else scene()
    deep, changed = before.astype(np.uint16) * 257 + 3, before.astype(np.uint16) * 257 + 3
    changed[60:90, 60:90] = 64000
    tifffile.imwrite(tmp_path / "a.tif", deep[..., 0] if gray else deep, software="Raw 1", metadata=None)
    tifffile.imwrite(tmp_path / "b.tif", changed, photometric="rgb")
    for place in ([], ["-o", tmp_path / "k.tif"]):
        report = json.loads(command("keep", tmp_path / "a.tif", tmp_path / "b.tif", "--json", *place).out)
        assert Path(report["output"]).name == ("k.tif" if place else "a.kept.tif")
        kept = tifffile.imread(report["output"])
        np.testing.assert_array_equal(kept, changed[..., 0] if gray else changed)
        np.testing.assert_array_equal(read_pixels(report["output"]).pixels, changed)
        assert report["left_out"] == {}
        with Image.open(report["output"]) as image:
            assert (image.getexif()[305], image.size) == ("Raw 1", (160, 160))


@pytest.mark.parametrize("name", ["l.csv", "l.json"])
def test_a_row_without_an_image_is_named(name: str, tmp_path: Path) -> None:
    rows = [{"original": "o.png", "edited": "e.png"}, {"original": "p.png", "edited": " "}]
    text = json.dumps(rows) if name == "l.json" else "original,edited\no.png,e.png\np.png, \n"
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(FileFormatError, match='row 2 has no "edited"'):
        pairs_of(tmp_path / name, None, None)
