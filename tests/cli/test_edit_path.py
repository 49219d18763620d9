"""The way of one edit, from the option to the picture: few modules, and the same as the documents say."""

import re
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest
from PIL import Image

import latentedit
from latentedit.cli.main import run
from latentedit.testing.miniature import miniature_sd3

MOST_MODULES = 21

PACKAGE = Path(latentedit.__file__).parent

ENDS = {"models": {"velocity", "encode", "decode", "embed"}, "core": {"save_image"}}
"""What a way leads to, by package: the network, the codec, the text encoder, and the file of the picture."""


def module_of(frame: FrameType) -> str | None:
    """The module of the package in which a function runs; None for others, and for what an import runs."""
    path = Path(frame.f_code.co_filename)
    if frame.f_code.co_name == "<module>" or not path.is_relative_to(PACKAGE):
        return None
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


def is_end(frame: FrameType) -> bool:
    """A call of the model or of the file writer; what those call in turn is their own affair."""
    name = frame.f_code.co_name
    module = module_of(frame) if any(name in names for names in ENDS.values()) else None
    return module is not None and name in ENDS.get(module.split(".")[0], ())


def stack(frame: FrameType | None) -> list[FrameType]:
    """From the outermost call to this one."""
    frames: list[FrameType] = []
    while frame is not None:
        frames.append(frame)
        frame = frame.f_back
    return frames[::-1]


@pytest.fixture
def way(tmp_path: Path) -> list[str]:
    """Modules on the stack whenever an end is reached, in the order in which they are first entered."""
    model = miniature_sd3(tmp_path / "miniature", t5=False)
    pixels = np.random.default_rng(1).integers(0, 256, (40, 56, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "me.png")
    modules: dict[str, None] = {}

    def watch(frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and is_end(frame):
            frames = stack(frame)
            if not any(map(is_end, frames[:-1])):
                modules.update(dict.fromkeys(name for one in frames if (name := module_of(one)) is not None))

    options = ["--from", "a person with no glasses", "--strength", "0.7", "--method", "eim", "--model", str(model)]
    sys.setprofile(watch)
    try:
        code = run(["edit", str(tmp_path / "me.png"), "--change", "no glasses => glasses", "--device", "cpu", *options])
    finally:
        sys.setprofile(None)
    assert not code
    assert (tmp_path / "me.edited.png").exists()
    return list(modules)


@pytest.mark.nightly
def test_an_edit_enters_few_modules_and_those_that_the_document_lists(way: list[str]) -> None:
    assert len(way) <= MOST_MODULES
    text = (Path(__file__).parents[2] / "docs" / "development" / "edit-path.md").read_text()
    assert re.findall(r"^\d+\. `([\w.]+)`", text, flags=re.MULTILINE) == way
