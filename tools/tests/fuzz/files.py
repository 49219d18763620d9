"""Files and folders that users exchange: directions, records, lists of edits, images, models, runs."""

import atexit
import contextlib
import importlib
import io
import json
import os
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st
from PIL import Image

from latentedit.calibration.guard import CalibratedSettings
from latentedit.core.errors import ImageError, LatentEditError
from latentedit.core.setting import to_plain
from latentedit.editors.base import make_editor
from latentedit.editors.eim import EIM
from latentedit.editors.judge import Judge
from latentedit.encoding.familiarity import Guard
from latentedit.encoding.images import SourceImage
from latentedit.encoding.no_change import no_change
from latentedit.encoding.record import DirectionRecord, RunRecord
from latentedit.keeping.undoing import undo_difference, undo_stored
from latentedit.models.loading import open_folder
from latentedit.models.model_settings import VARIABLE, calibration_file
from latentedit.photo.images import read_image, read_pixels
from latentedit.photo.saving import pack_chunks, read_chunks, save_image
from latentedit.testing.miniature import miniature_sd3
from latentedit_bench.data.loading import load_dataset
from research.tests.bench.made_runs import made_run
from tests.editors.colors import ColorBackbone
from tests.encoding.test_familiarity import example_guard
from tests.encoding.test_record import example_record as record
from tests.identification.test_direction import example as direction
from tools.tests.fuzz.judge import FaultError, Target, run_command
from tools.tests.fuzz.texts import NODES, as_json, bent, damaged, documents

importlib.import_module("latentedit_bench.report.report")  # else the first input would include its imports

_APPLIED = DirectionRecord(
    fingerprint="1", method="hsds", settings={"seed": 1}, strength=1.0, target_caption="", given=False
)
_RECORD = json.loads(record(directions=(_APPLIED,)).to_json())


@cache
def _direction() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        direction().save(Path(folder) / "d.safetensors")
        return (Path(folder) / "d.safetensors").read_bytes()


@st.composite
def safetensors(draw: st.DrawFn, whole: bytes, key: str) -> bytes:
    """A safetensors file with a changed header, JSON within its metadata, or bytes."""
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
def _model() -> ColorBackbone:
    return ColorBackbone(sizes=(4, 8, 12))


_IMAGE = SourceImage(image=Image.linear_gradient("L").resize((8, 8)).convert("RGB"))


@cache
def _difference() -> bytes:
    return undo_difference(_IMAGE.image.rotate(90), _IMAGE.image)


def _undo(data: bytes, folder: Path) -> None:
    undo_stored(_IMAGE.image, data)


_COLUMNS = ("image", "source_caption", "target_caption", "id", "mask", "truth", "kind", "group")
_CELLS = st.sampled_from([
    "a.png", "a.png", "", "a man", "a man with a hat", "../a.png", "/dev/zero", "nothing.png", "1", "edit", "=cmd|x",
    '"', "\x1b[31m", "x" * 3000, " " * 9000, "\u202e", ".", "a.png\x00", "pipe",
]) | st.text(max_size=10)  # fmt: skip
_ENTRY = {name: "a.png" if name in ("image", "truth", "mask") else "a man" for name in _COLUMNS} | {
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
        NODES.map(lambda text: f"- image: a.png\n  source_caption: {text}\n".encode("utf-8", "ignore")),
    ),
)


def _load(given: tuple[str, bytes], folder: Path) -> None:
    name, data = given
    Image.new("RGB", (4, 4), (9, 9, 9)).save(folder / "a.png")
    (folder / "pipe").symlink_to("/dev/zero")
    _show(data, folder / name, "bench", "data")
    load_dataset(folder / name)


def _show(data: bytes, place: Path, *words: str) -> None:
    place.write_bytes(data)
    run_command(*words, str(place))


def _replay(data: bytes, folder: Path) -> None:
    """Up to loading the model, which is not in a record."""
    text = data.decode("utf-8", "replace")
    save_image(_IMAGE.image, folder / "r.png", record=text[:900_000])
    with contextlib.suppress(LatentEditError):
        run_command("replay", str(folder / "r.png"), "-o", str(folder / "again.png"))
    read = RunRecord.from_json(text, "me.png")
    assert RunRecord.from_json(read.to_json(), "again") == read


_SETTINGS = CalibratedSettings(
    eim=EIM(arm="image"),
    local=True,
    judge=Judge(level=0.5),
    strengths=(-1.0, 2.0),
    images=8,
    evaluations=12,
    tried={"usual": {"residual": 1.0, "share": 0.1}},
    preferred=True,
)
_CALIBRATION = {
    "fingerprint": ColorBackbone().fingerprint,
    "guard": to_plain(example_guard()),
    "settings": to_plain(_SETTINGS),
    "no_change": {"change nothing": 0.1, "": 0.2},
}


def _adopt(data: bytes, folder: Path) -> None:
    """Load a foreign calibration wherever one is used."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, str(folder))
        place = calibration_file(_model().fingerprint)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
        for read in (Guard.of, Judge.of, no_change, CalibratedSettings.of):
            read(_model())
        make_editor("eim", _model())
        EIM().localizes_on(_model())


_KINDS: dict[str, tuple[list[str], list[dict[str, Any]]]] = {
    "PNG": (["1", "L", "LA", "I;16", "P", "RGB", "RGBA"], [{}, {"compress_level": 0}, {"transparency": 1}]),
    "JPEG": (["L", "RGB", "CMYK"], [{}, {"progressive": True}, {"quality": 1}]),
    "WEBP": (["RGB", "RGBA"], [{}, {"lossless": True}]),
    "GIF": (["L", "P"], [{}, {"interlace": 0}]),
    "TIFF": (
        ["1", "L", "LA", "I;16", "I", "F", "P", "RGB", "RGBA", "CMYK", "YCbCr"],
        [{}, *({"compression": f"tiff_{one}"} for one in ("lzw", "deflate", "adobe_deflate"))],
    ),
    "BMP": (["1", "L", "P", "RGB"], [{}]),
    "PPM": (["1", "L", "RGB", "I;16"], [{}]),
}
_NUMBERS = {
    "I;16": np.arange(2**16, dtype=np.uint16),
    "I": np.array([0, 1, -1, 2**31 - 1, -(2**31), 40_000], dtype=np.int32),
    "F": np.array([0, 0.5, 1, -1, 300, np.nan, np.inf, 1e38], dtype=np.float32),
}


def _drawn(mode: str, width: int, height: int, seed: int) -> Image.Image:
    draw = np.random.default_rng(seed)
    if mode in _NUMBERS:
        return Image.fromarray(draw.choice(_NUMBERS[mode], (height, width)))
    return Image.fromarray(draw.integers(0, 256, (height, width, 3)).astype(np.uint8)).convert(mode)


@st.composite
def image_files(draw: st.DrawFn) -> bytes:
    """An image file, intact or damaged."""
    kind = draw(st.sampled_from(sorted(_KINDS)))
    modes, sets_of_options = _KINDS[kind]
    mode, options = draw(st.sampled_from(modes)), dict(draw(st.sampled_from(sets_of_options)))
    image = _drawn(mode, draw(st.integers(1, 40)), draw(st.integers(1, 40)), draw(st.integers(0, 99)))
    if draw(st.booleans()) and kind in ("PNG", "JPEG", "WEBP", "TIFF"):
        exif = Image.Exif()
        exif[274] = draw(st.integers(0, 12))
        exif[270] = draw(st.text(st.characters(max_codepoint=127), max_size=20))
        options |= {"exif": exif, "icc_profile": draw(st.binary(max_size=60))}
    if kind == "PNG" and draw(st.booleans()):
        options["pnginfo"] = pack_chunks('{"format": 1}', draw(st.binary(max_size=40)))
    file = io.BytesIO()
    try:
        image.save(file, kind, **options)
    except Exception:  # noqa: BLE001 (not every mode takes every option)
        file = io.BytesIO()
        Image.new("RGB", (4, 4)).save(file, kind)
    return draw(bent(file.getvalue()))


def _read(data: bytes, folder: Path) -> None:
    place = folder / "in.png"
    place.write_bytes(data)
    refused: list[bool] = []
    for read in (lambda: read_image(place), lambda: read_image(place, content=data), lambda: read_pixels(place)):
        try:
            read()
            refused.append(False)
        except ImageError:
            refused.append(True)
    if refused[0] != refused[1]:
        raise FaultError("a file and its content are not rejected alike")
    record, _ = read_chunks(place)
    if record is not None:
        RunRecord.from_json(record, "in.png")
    image = read_image(place)
    endings = (".png", ".webp", ".tiff") if image.mode == "RGBA" else (".png", ".jpg", ".webp", ".tiff", ".bmp")
    for ending in endings:
        save_image(image, folder / f"out{ending}")
        again = read_image(folder / f"out{ending}")
        same_kind = (again.mode, again.size) == (image.mode, image.size)
        if ending != ".jpg" and same_kind and again.tobytes() != image.tobytes():
            raise FaultError(f"{ending} does not keep the pixels")


def _keep_files(data: list[bytes], folder: Path) -> None:
    (folder / "a.png").write_bytes(data[0])
    (folder / "b.png").write_bytes(data[1])
    run_command("keep", str(folder / "a.png"), str(folder / "b.png"), "-o", str(folder / "o.png"))


def _place() -> Path:
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


_MODEL_SETTINGS: dict[str, Any] = {
    "description": "a model",
    "captioner": None,
    "sizes": [64, 64, 128],
    "guidance": 2.0,
    "zero_tokens": 1,
    "vocabulary": ["a", "man"],
    "editors": {"eim": {"arm": "image", "search": {"steps": 2}}, "sdedit": {"level": 0.5}},
    "judge": {"level": 0.5},
    "quality": {"some": {"mean": 0.5}},
}


@cache
def _miniature() -> Path:
    folder = miniature_sd3(_place() / "model", t5=False)
    (folder / "latentedit.json").write_text(json.dumps(_MODEL_SETTINGS))
    return folder


@cache
def _run() -> Path:
    return made_run(_place() / "run")


@st.composite
def _changes(draw: st.DrawFn, whole: Path, endings: tuple[str, ...]) -> dict[str, bytes]:
    """New contents of one or two files, by name."""
    names = sorted(str(place.relative_to(whole)) for place in whole.rglob("*") if place.suffix in endings)
    made: dict[str, bytes] = {}
    for _ in range(draw(st.integers(1, 2))):
        name = draw(st.sampled_from(names))
        if name.endswith(".json") and draw(st.integers(0, 4)):
            made[name] = as_json(draw(damaged(_without_long(json.loads((whole / name).read_bytes())))))
        elif name.endswith(".safetensors"):
            made[name] = draw(_bent_header((whole / name).read_bytes()))
        elif name.endswith(".jsonl") and draw(st.integers(0, 4)):
            lines = [json.loads(line) for line in (whole / name).read_text().splitlines()]
            changed = draw(damaged(lines[:3]))
            made[name] = b"\n".join(map(as_json, changed if isinstance(changed, list) else [changed]))
        else:
            made[name] = draw(bent((whole / name).read_bytes()[:4000]))
    return made


def _without_long(document: Any) -> Any:
    """The document with short vocabularies, so that inputs stay small."""
    if isinstance(document, dict):
        return {key: _without_long(value) for key, value in list(document.items())[:60]}
    return [_without_long(value) for value in document[:60]] if isinstance(document, list) else document


@st.composite
def _bent_header(draw: st.DrawFn, whole: bytes) -> bytes:
    """The header and some hundred bytes of a weight file, whose numbers are random anyway."""
    end = 8 + int.from_bytes(whole[:8], "little")
    header = dict(list(json.loads(whole[8:end]).items())[:4])
    text = as_json(draw(damaged(header)))
    return draw(bent(len(text).to_bytes(8, "little") + text + whole[end : end + 300]))


def _copied(whole: Path, changes: dict[str, bytes], folder: Path) -> Path:
    """The folder with its changes; other files are links."""
    copy = shutil.copytree(whole, folder / "it", copy_function=os.symlink)
    for name, content in changes.items():
        (copy / name).unlink()
        (copy / name).write_bytes(content)
    return copy


def _look(changes: dict[str, bytes], folder: Path) -> None:
    model = _copied(_miniature(), changes, folder)
    run_command("models", "show", str(model))
    open_folder(model)


def _report(changes: dict[str, bytes], folder: Path) -> None:
    run = _copied(_run(), changes, folder)
    run_command("bench", "status", str(run), "--json")
    run_command("bench", "status", str(run))
    run_command("bench", "report", str(run), "-o", str(folder / "page.html"))
    run_command("bench", "resume", str(run))


TARGETS = [
    Target(
        name="directions",
        inputs=st.deferred(lambda: safetensors(_direction(), "latentedit.direction")),
        act=lambda data, folder: _show(data, folder / "d.safetensors", "direction", "show"),
    ),
    Target(name="records in images", inputs=documents(_RECORD), act=_replay),
    Target(name="differences", inputs=st.deferred(lambda: safetensors(_difference(), "")), act=_undo),
    Target(name="lists of edits", inputs=_LISTS, act=_load),
    Target(name="calibrations", inputs=documents(_CALIBRATION), act=_adopt),
    Target(name="images", inputs=image_files(), act=_read),
    Target(name="kept files", inputs=st.tuples(image_files(), image_files()).map(list), act=_keep_files),
    Target(
        name="model folders", inputs=st.deferred(lambda: _changes(_miniature(), (".json", ".safetensors"))), act=_look
    ),
    Target(name="run folders", inputs=st.deferred(lambda: _changes(_run(), (".json", ".jsonl", ".webp"))), act=_report),
]
