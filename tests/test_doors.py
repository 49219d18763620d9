"""One door in, one door out: no file of others hangs a command, fills the memory, fails it, or steers the terminal."""

import json
import os
import resource
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.commands import *  # noqa: F403
from tests.commands import Command, Refused

TO = ("--change", "=> glasses", "--from", "a person with no glasses")
ESCAPES = "\x1b]0;pwned\x07\x1b[31m\u202e"
SHOWN = r"\x1b]0;pwned\x07\x1b[31m\u202e"
SLACK_BYTES = 6_000_000_000
"""Memory that a test may take beyond what the process has: a file without end shall not end the machine."""


@pytest.fixture(autouse=True)
def bounded() -> Iterator[None]:
    """Fail where a test would wait or fill the memory."""

    def late(*_: object) -> None:
        raise TimeoutError("it waits for a file")

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + SLACK_BYTES, before[1]))
    handler = signal.signal(signal.SIGALRM, late)
    signal.alarm(25)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, handler)
    resource.setrlimit(resource.RLIMIT_AS, before)


def sparse(place: Path) -> None:
    with place.open("wb") as file:
        file.truncate(12_000_000_000)  # takes no room on the disk


SPECIAL: dict[str, Callable[[Path], object]] = {
    "pipe": os.mkfifo,
    "zeros": lambda place: place.symlink_to("/dev/zero"),
    "kernel messages": lambda place: place.symlink_to("/proc/kmsg"),
    "12 GB": sparse,
}
"""What may stand where a file should."""


@pytest.fixture
def model(miniature: Path, tmp_path: Path) -> Path:
    """A copy of the tiny model, to be damaged."""
    return shutil.copytree(miniature, tmp_path / "model")


@pytest.mark.nightly
def test_special_files_among_the_pictures_of_a_folder_are_left_out_and_told(
    command: Command, picture: Path, miniature: Path, tmp_path: Path
) -> None:
    """H1."""
    folder = tmp_path / "photos"
    folder.mkdir()
    shutil.copy(picture, folder / "a.png")
    for number, make in enumerate(SPECIAL.values()):
        make(folder / f"{number}.png")
    outcome = command("edit", folder, *TO, "--method", "sdedit", "--model", miniature, "--workers", 1)
    assert outcome.code == 1, outcome.err
    assert ": 1 edited (" in outcome.out
    assert f"), {len(SPECIAL)} failed; " in outcome.out
    assert all(f"{number}.png" in outcome.err for number in range(len(SPECIAL)))


@pytest.mark.parametrize("kind", SPECIAL)
def test_a_special_file_beside_an_output_is_another_programs(
    refused: Refused, picture: Path, miniature: Path, tmp_path: Path, kind: str
) -> None:
    """H2."""
    SPECIAL[kind](tmp_path / "o.json")
    assert "o.json" in refused("edit", picture, *TO, "--model", miniature, "-o", tmp_path / "o.png")


@pytest.mark.nightly
def test_captions_and_names_of_files_do_not_steer_the_terminal(
    command: Command, picture: Path, miniature: Path, tmp_path: Path
) -> None:
    """H3."""
    named = picture.rename(tmp_path / f"ne\nw{ESCAPES}.png")
    words = ("--from", "a person", "--to", f"a person with {ESCAPES}", "--method", "sdedit", "--model", miniature)
    outcome = command("edit", named, *words)
    assert outcome.code == 0, outcome.err
    assert outcome.out.startswith(f"{tmp_path}/ne\\nw{SHOWN}.png -> ")
    assert f"a person with {SHOWN}\n" in outcome.out
    as_json = command("edit", named, *words, "--json")
    assert json.loads(as_json.out)["record"]["target_caption"] == f"a person with {ESCAPES}"
    wrong = command("edit", named, *words, "--mask", f"no{ESCAPES}.png")
    assert wrong.code == 2
    for printed in (outcome, as_json, wrong):
        assert not set(ESCAPES) & {"\x1b", "\x07", "\u202e"} & set(printed.out + printed.err)


@pytest.mark.slow
def test_the_command_of_somebody_elses_run_does_not_steer_the_terminal(
    command: Command, picture: Path, miniature: Path, tmp_path: Path
) -> None:
    """H3."""
    pytest.importorskip("latentedit_bench")
    folder = tmp_path / "photos"
    folder.mkdir()
    shutil.copy(picture, folder / "a.png")
    command("edit", folder, *TO, "--method", "sdedit", "--model", miniature, "--workers", 1, "--quiet")
    place = tmp_path / "photos.edited" / "run.json"
    place.write_text(json.dumps(json.loads(place.read_text()) | {"command": f"latentedit edit {ESCAPES}"}))
    outcome = command("bench", "status", place.parent)
    assert SHOWN in outcome.out, outcome
    assert "\x1b" not in outcome.out + outcome.err


@pytest.mark.parametrize(
    ("file", "kind"),
    [
        *(("model_index.json", kind) for kind in SPECIAL),
        *(("vae/config.json", kind) for kind in SPECIAL),
        *(("text_encoder/model.safetensors", kind) for kind in ("pipe", "zeros", "kernel messages")),
    ],
)
def test_special_files_in_a_models_folder_are_refused(
    refused: Refused, picture: Path, model: Path, file: str, kind: str
) -> None:
    """H4."""
    (model / file).unlink()
    SPECIAL[kind](model / file)
    assert str(model) in refused("edit", picture, *TO, "--model", model)


@pytest.mark.parametrize("file", ["model_index.json", "latentedit.json", "vae/config.json"])
def test_deep_json_in_a_models_folder_is_refused(refused: Refused, picture: Path, model: Path, file: str) -> None:
    """M3."""
    (model / file).write_text("[" * 200_000)
    assert "nested too deeply" in refused("edit", picture, *TO, "--model", model)


@pytest.mark.parametrize(
    "header", [b"[" * 200_000, b'{"a": {"dtype": "F32", "shape": [Infinity], "data_offsets": [0, 0]}}']
)
def test_a_hostile_header_of_weights_is_refused(refused: Refused, picture: Path, model: Path, header: bytes) -> None:
    """M3."""
    weights = next((model / "transformer").glob("*.safetensors"))
    weights.write_bytes(len(header).to_bytes(8, "little") + header)
    assert weights.name in refused("edit", picture, *TO, "--model", model)


@pytest.mark.parametrize("text", ["!!bool foo", '!!int ""', '!!int "_"', '!!float ""', "!!timestamp foo"])
def test_yaml_that_cannot_be_made_into_values_is_refused(refused: Refused, tmp_path: Path, text: str) -> None:
    """M4."""
    (tmp_path / "m.yaml").write_text(f"- {text}\n")
    assert "m.yaml is not sound YAML: " in refused("edit", tmp_path / "m.yaml")


@pytest.mark.parametrize("name", ["~nosuchuser/x", "A" * 5000, f"./{'A' * 5000}", f"org/{'A' * 5000}"])
def test_names_that_no_file_can_have_are_refused(refused: Refused, picture: Path, miniature: Path, name: str) -> None:
    """M9."""
    for option in ("--model", "--captioner", "--mask", "--direction", "-o"):
        rest = ("--model", miniature) if option != "--model" else ()
        change = TO[:2] if option == "--captioner" else () if option == "--direction" else TO
        told = refused("edit", picture, *change, option, f"{name}.png" if option == "-o" else name, *rest)
        assert name[-100:-5] in told or name in told, option
    assert name[-100:-5] in refused("edit", name, *TO, "--model", miniature)


def test_a_shard_of_a_name_that_no_file_can_have_is_refused(refused: Refused, picture: Path, model: Path) -> None:
    """M9."""
    weights = next((model / "transformer").glob("*.safetensors"))
    weights.unlink()
    index = weights.with_name(f"{weights.name}.index.json")
    index.write_text(json.dumps({"weight_map": {"a": f"{'A' * 5000}.safetensors"}}))
    assert "File name too long" in refused("edit", picture, *TO, "--model", model)


def test_outputs_that_are_links_in_a_circle_are_refused(
    refused: Refused, picture: Path, miniature: Path, tmp_path: Path
) -> None:
    """M10."""
    (tmp_path / "l.png").symlink_to(tmp_path / "l.png")
    told = "is a link that leads back to itself"
    assert told in refused("edit", picture, *TO, "--model", miniature, "-o", tmp_path / "l.png")
    assert told in refused("edit", tmp_path, *TO, "--model", miniature, "-o", tmp_path / "l.png")
    assert told in refused("edit", tmp_path / "l.png", *TO, "--model", miniature)
    assert told in refused("sweep", picture, *TO, "--model", miniature, "-o", tmp_path / "l.png")
    assert told in refused("discover", picture, "--model", miniature, "-o", tmp_path / "l.png")
