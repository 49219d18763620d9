"""The Python of the README runs as it stands there; the block for a GPU and downloaded weights is only compiled."""

import re
import shutil
from pathlib import Path

import pytest

from latentedit_portraits.attributes import draw_split
from latentedit_portraits.render import render

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


def test_the_python_blocks_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out" / "demo").mkdir(parents=True)
    portrait = next(item for item in draw_split("test", 50, 3) if item.accessory == "none")
    render(portrait).save("out/demo/source.png")
    portrait_of_others = Path("tests/data/foreign/dicebear-plain.png")
    portrait_of_others.parent.mkdir(parents=True)
    shutil.copy(ROOT / portrait_of_others, portrait_of_others)
    compiled = [compile(block, "README.md", "exec") for block in BLOCKS]
    assert len(compiled) == 4
    scope: dict[str, object] = {}
    for block in compiled[:-1]:
        exec(block, scope)
    assert Path("out/demo/me-glasses.png").is_file()
