"""Folders of models and of runs, of which a file or two were changed."""

import atexit
import json
import os
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

import latentedit_bench.report.report  # noqa: F401 (else the first input would include its imports)
from latentedit.models.loading import open_folder
from latentedit.models.memory import model_needs
from latentedit.testing.miniatures.flow import miniature_sd3
from tests.bench.made_runs import made_run
from tests.fuzz.judge import Target, run_command
from tests.fuzz.texts import as_json, bent, damaged


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
    """The folder with its changes; other files are links."""
    copy = shutil.copytree(whole, folder / "it", copy_function=os.symlink)
    for name, content in changes.items():
        (copy / name).unlink()
        (copy / name).write_bytes(content)
    return copy


def _look(changes: dict[str, bytes], folder: Path) -> None:
    model = _copied(_miniature(), changes, folder)
    run_command("models", "show", str(model))
    model_needs(open_folder(model))


def _report(changes: dict[str, bytes], folder: Path) -> None:
    run = _copied(_run(), changes, folder)
    run_command("bench", "status", str(run), "--json")
    run_command("bench", "status", str(run))
    run_command("bench", "report", str(run), "-o", str(folder / "page.html"))
    run_command("bench", "resume", str(run))


TARGETS = [
    Target(
        name="model folders", inputs=st.deferred(lambda: _changes(_miniature(), (".json", ".safetensors"))), act=_look
    ),
    Target(name="run folders", inputs=st.deferred(lambda: _changes(_run(), (".json", ".jsonl", ".webp"))), act=_report),
]
