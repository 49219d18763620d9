"""Folders of models and of runs, of which a file or two were changed."""

import atexit
import json
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import torch
from hypothesis import strategies as st

import latentedit_bench.report.report  # noqa: F401 (what it imports would count as time of the first input)
from latentedit.models.loading import open_folder
from latentedit.models.memory import model_needs
from latentedit.models.registry import load
from latentedit.testing.miniature import miniature_sd3
from tests.bench.made_runs import made_run
from tests.fuzz.judge import Target, told
from tests.fuzz.texts import HOSTILE, as_json, bent, damaged


def _place() -> Path:
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


_SETTINGS: dict[str, Any] = {
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
    (folder / "latentedit.json").write_text(json.dumps(_SETTINGS))
    return folder


@cache
def _run() -> Path:
    return made_run(_place() / "run")


@st.composite
def _changes(draw: st.DrawFn, whole: Path, endings: tuple[str, ...]) -> dict[str, bytes]:
    """New contents by name of one or two files."""
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
    """Vocabularies of tokenizers are cut, so that inputs stay small."""
    if isinstance(document, dict):
        return {key: _without_long(value) for key, value in list(document.items())[:60]}
    return [_without_long(value) for value in document[:60]] if isinstance(document, list) else document


@st.composite
def _bent_header(draw: st.DrawFn, whole: bytes) -> bytes:
    """Of a weight file the header and some hundred bytes: the numbers behind it are random anyway."""
    end = 8 + int.from_bytes(whole[:8], "little")
    header = dict(list(json.loads(whole[8:end]).items())[:4])
    text = as_json(draw(damaged(header)))
    return draw(bent(len(text).to_bytes(8, "little") + text + whole[end : end + 300]))


def _copied(whole: Path, changes: dict[str, bytes], folder: Path) -> Path:
    """The folder with its changes; what did not change is a link."""
    for place in whole.rglob("*"):
        new = folder / "it" / place.relative_to(whole)
        if place.is_dir():
            new.mkdir(parents=True)
        elif str(place.relative_to(whole)) not in changes:
            new.parent.mkdir(parents=True, exist_ok=True)
            new.symlink_to(place)
    for name, content in changes.items():
        (folder / "it" / name).write_bytes(content)
    return folder / "it"


def _look(changes: dict[str, bytes], folder: Path) -> None:
    model = _copied(_miniature(), changes, folder)
    told("models", "show", str(model))
    model_needs(open_folder(model))


@st.composite
def _configurations(draw: st.DrawFn) -> dict[str, bytes]:
    """One value of one configuration is another: what gets past the first look."""
    places = [*sorted(_miniature().rglob("*config.json")), _miniature() / "latentedit.json"]
    place = draw(st.sampled_from(places))
    name, whole = str(place.relative_to(_miniature())), json.loads(place.read_bytes())
    key = draw(st.sampled_from(sorted(whole)))
    return {name: as_json(whole | {key: draw(st.sampled_from(HOSTILE) | st.integers(-3, 40))})}


@torch.no_grad()
def _load(changes: dict[str, bytes], folder: Path) -> None:
    model = load(_copied(_miniature(), changes, folder), device="cpu")
    condition = model.embed(["a man"])
    shape = model.latent_shape(64, 64)
    z = model.encode(torch.zeros(1, 3, 64, 64))
    assert z.shape == (1, *shape)
    model.velocity(z, torch.tensor([0.5]), condition)
    model.decode(z)


def _report(changes: dict[str, bytes], folder: Path) -> None:
    run = _copied(_run(), changes, folder)
    told("bench", "status", str(run), "--json")
    told("bench", "status", str(run))
    told("bench", "report", str(run), "-o", str(folder / "page.html"))
    told("bench", "resume", str(run))


TARGETS = [
    Target(
        name="model folders, looked at",
        inputs=st.deferred(lambda: _changes(_miniature(), (".json", ".safetensors"))),
        act=_look,
    ),
    Target(name="model folders, loaded", inputs=st.deferred(_configurations), act=_load),
    Target(name="run folders", inputs=st.deferred(lambda: _changes(_run(), (".json", ".jsonl", ".webp"))), act=_report),
]
