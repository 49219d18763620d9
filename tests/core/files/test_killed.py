"""A writer that is killed leaves what stood there, or what was to come."""

import os
import random
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from latentedit_keep.files import write_text
from latentedit_keep.pictures import save_image

TEXTS = ["old " * 5000, "new " * 5000]
PICTURES = [
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (64, 64, 3)).astype(np.uint8)) for seed in (0, 1)
]


def write(folder: Path, which: int) -> None:
    write_text(folder / "a.txt", TEXTS[which])
    save_image(PICTURES[which], folder / "a.png", record=TEXTS[which])


@pytest.mark.nightly
@pytest.mark.skipif(not hasattr(os, "fork"), reason="a fork begins without the seconds of imports")
def test_files_are_whole_whenever_their_writer_is_killed(tmp_path: Path) -> None:
    whole: dict[str, set[bytes]] = {"a.txt": set(), "a.png": set()}
    for which in (1, 0):
        write(tmp_path, which)
        for name, contents in whole.items():
            contents.add((tmp_path / name).read_bytes())
    generator = random.Random(0)
    for _ in range(8):
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            while True:
                write(tmp_path, 1)
                os.write(writing, b".")
                write(tmp_path, 0)
        os.read(reading, 1)
        os.close(reading)
        os.close(writing)
        time.sleep(generator.uniform(0, 0.02))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        for name, contents in whole.items():
            assert (tmp_path / name).read_bytes() in contents
    strange = [path.name for path in tmp_path.iterdir() if path.name not in whole and not path.name.startswith(".")]
    assert strange == []
