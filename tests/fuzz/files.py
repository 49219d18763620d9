"""Files that people send each other: directions, records, differences, lists of edits, calibrations."""

import contextlib
import json
import os
import tempfile
from functools import cache
from pathlib import Path
from unittest import mock

from hypothesis import strategies as st
from PIL import Image

from latentedit.batch.manifest import load_manifest
from latentedit.core.errors import LatentEditError
from latentedit.core.settings import to_plain
from latentedit.directions.direction import save_direction
from latentedit.editing.undo import difference, undo_stored
from latentedit.editors.eim import EIM
from latentedit.editors.judge import Judge
from latentedit.editors.registry import localizes, make_editor
from latentedit.guard.calibration import CalibratedSettings
from latentedit.guard.guard import Guard
from latentedit.latents.instructions import no_change
from latentedit.latents.pictures import Picture
from latentedit.latents.record import DirectionRecord, RunRecord
from latentedit.models.calibrations import VARIABLE, calibration_file
from latentedit_bench.data.loading import load_dataset
from latentedit_keep.pictures import save_image
from tests.directions.test_direction import example as direction
from tests.editors.colours import ColourBackbone
from tests.fuzz.judge import Target, run_command
from tests.fuzz.texts import NODES, as_json, bent, damaged, documents
from tests.guard.test_guard import guard
from tests.latents.test_record import example as record

_APPLIED = DirectionRecord(
    fingerprint="1", method="hsds", settings={"seed": 1}, strength=1.0, target_caption="", given=False
)
_RECORD = json.loads(record(directions=(_APPLIED,)).to_json())


@cache
def _direction() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        save_direction(direction(), Path(folder) / "d.safetensors")
        return (Path(folder) / "d.safetensors").read_bytes()


@st.composite
def safetensors(draw: st.DrawFn, whole: bytes, key: str) -> bytes:
    """A safetensors file whose header, or what lies as JSON under a key of its metadata, was changed, or its bytes."""
    end = 8 + int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8:end])
    match draw(st.sampled_from(["inner", "inner", "header", "bytes"])):
        case "inner" if key:
            header["__metadata__"][key] = json.dumps(draw(damaged(json.loads(header["__metadata__"][key]))))
        case "bytes":
            return draw(bent(whole))
        case _:
            header = draw(damaged(header))
    text = as_json(header)
    return len(text).to_bytes(8, "little") + text + whole[end:]


@cache
def _model() -> ColourBackbone:
    return ColourBackbone(sizes=(4, 8, 12))


_PICTURE = Picture(image=Image.linear_gradient("L").resize((8, 8)).convert("RGB"))


@cache
def _difference() -> bytes:
    return difference(_PICTURE.image.rotate(90), _PICTURE.image)


def _undo(data: bytes, folder: Path) -> None:
    undo_stored(_PICTURE, data)


_COLUMNS = ("picture", "source_caption", "target_caption", "id", "mask", "truth", "kind", "group")
_CELLS = st.sampled_from([
    "a.png", "a.png", "", "a man", "a man with a hat", "../a.png", "/dev/zero", "nothing.png", "1", "edit", "=cmd|x",
    '"', "\x1b[31m", "x" * 3000, " " * 9000, "\u202e", ".", "a.png\x00", "pipe",
]) | st.text(max_size=10)  # fmt: skip
_ENTRY = {name: "a.png" if name in ("picture", "truth", "mask") else "a man" for name in _COLUMNS} | {
    "target_caption": "b"
}
_CSV = st.builds(
    lambda head, rows: ("\n".join(",".join(row) for row in [head, *rows])).encode("utf-8", "surrogatepass"),
    st.lists(st.sampled_from(_COLUMNS) | _CELLS, max_size=9) | st.just(list(_COLUMNS)),
    st.lists(st.lists(_CELLS, max_size=9), max_size=5),
)
_LISTS = st.one_of(
    st.tuples(st.just("m.csv"), _CSV | _CSV.flatmap(bent)),
    st.tuples(st.just("m.json"), documents([_ENTRY, _ENTRY | {"id": "2"}])),
    st.tuples(st.just("m.yaml"), documents([_ENTRY]) | NODES.map(lambda text: text.encode("utf-8", "surrogatepass"))),
    st.tuples(
        st.just("m.yaml"),
        NODES.map(lambda text: f"- picture: a.png\n  source_caption: {text}\n".encode("utf-8", "ignore")),
    ),
)


def _load(given: tuple[str, bytes], folder: Path) -> None:
    name, data = given
    Image.new("RGB", (4, 4), (9, 9, 9)).save(folder / "a.png")
    (folder / "pipe").symlink_to("/dev/zero")
    _show(data, folder / name, "bench", "data")
    found = load_dataset(folder) if name == "m.yaml" else load_manifest(folder / name)
    for item in found.items:
        item.picture()


def _replay(data: bytes, folder: Path) -> None:
    """Up to the model, which a record cannot bring along."""
    text = data.decode("utf-8", "replace")
    save_image(_PICTURE.image, folder / "r.png", record=text[:900_000])
    with contextlib.suppress(LatentEditError):
        run_command("replay", str(folder / "r.png"), "-o", str(folder / "again.png"))
    read = RunRecord.from_json(text, "me.png")
    assert RunRecord.from_json(read.to_json(), "again") == read


def _show(data: bytes, place: Path, *words: str) -> None:
    place.write_bytes(data)
    run_command(*words, str(place))


_SETTINGS = CalibratedSettings(
    eim=EIM(arm="image"),
    local=True,
    judge=Judge(level=0.5),
    strengths=(-1.0, 2.0),
    pictures=8,
    evaluations=12,
    tried={"usual": {"residual": 1.0, "share": 0.1}},
    preferred=True,
)
_CALIBRATION = {
    "fingerprint": ColourBackbone().fingerprint,
    "guard": to_plain(guard()),
    "settings": to_plain(_SETTINGS),
    "no_change": {"change nothing": 0.1, "": 0.2},
}


def _adopt(data: bytes, folder: Path) -> None:
    """Somebody else's, used by all that ask for it."""
    with mock.patch.dict(os.environ, {VARIABLE: str(folder)}):
        place = calibration_file(_model().fingerprint)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
        Guard.of(_model())
        Judge.of(_model())
        no_change(_model())
        make_editor("eim", _model())
        localizes(EIM, _model())
        CalibratedSettings.of(_model())


TARGETS = [
    Target(
        name="directions",
        inputs=st.deferred(lambda: safetensors(_direction(), "latentedit.direction")),
        act=lambda data, folder: _show(data, folder / "d.safetensors", "direction", "show"),
    ),
    Target(name="records in pictures", inputs=documents(_RECORD), act=_replay),
    Target(name="differences", inputs=st.deferred(lambda: safetensors(_difference(), "")), act=_undo),
    Target(name="lists of edits", inputs=_LISTS, act=_load),
    Target(name="calibrations", inputs=documents(_CALIBRATION), act=_adopt),
]
