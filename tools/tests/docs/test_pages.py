"""Pages contain the outputs of their blocks, which a digest ensures; and the runner of blocks."""

import functools
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tools import pages, running
from tools.pages import MARK, digest
from tools.running import Block, BlockError, parsed

ROOT = Path(__file__).parents[3]
PAGES = sorted(ROOT.glob("docs/**/*.md"))


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_blocks_of_a_page_were_run_since_they_were_edited(path: Path) -> None:
    """Where this fails: python -m tools.pages PAGE."""
    text = path.read_text(encoding="utf-8")
    parts = parsed(text)
    assert "".join(map(str, parts)) == text
    run = [part for part in parts if isinstance(part, Block) and part.language in ("console", "python")]
    mark = MARK.search(text)
    assert (mark is not None) == bool(run)
    if mark is not None:
        assert mark[1] == digest(parts)


def test_files_and_images_on_pages_are_in_the_repository() -> None:
    texts = [path.read_text(encoding="utf-8") for path in PAGES]
    blocks = [part for text in texts for part in parsed(text) if isinstance(part, Block)]
    files = [part for part in blocks if (ROOT / part.title).is_file()]
    assert [one.title for one in files if one.text.rstrip() != (ROOT / one.title).read_text("utf-8").rstrip()] == []
    shown = {place for text in texts for place in pages.shown(text)}
    images = {place for place in shown if place.suffix != ".html"}
    assert [place for place in sorted(images) if not (pages.IMAGES / place).is_file()] == []
    kept = [pages.IMAGES / place for place in images]
    assert max(path.stat().st_size for path in kept) <= pages.MOST_BYTES
    assert sum(path.stat().st_size for path in kept) < 4e6


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Run the blocks of a page in a temporary repository, and return the page."""
    changed = {(pages, "ROOT"): tmp_path, (running, "ROOT"): tmp_path, (running, "GIVEN"): ()}
    for (module, name), value in (changed | {(pages, "IMAGES"): tmp_path / "docs" / "images"}).items():
        monkeypatch.setattr(module, name, value, raising=False)
    path = tmp_path / "docs" / "page.md"
    path.parent.mkdir()
    return functools.partial(pages.run, path)


def test_output_is_written_below_commands_and_after_blocks(tmp_path: Path, run: Callable[[str], str]) -> None:
    page = """# A
```console
$ printf 'one\\ntwo\\n' \\
    > b.txt
old
$ false  # exit 1
```

```console
$ echo 28 evaluations, 1.3 s
28 evaluations, 9.9 s
```

```python
text = open("b.txt").read()
print(text.upper())
```

```python
text = text + "three"
```

```text title="output"
old
```

```python title="file.py"
```
<!-- ran: -->
"""
    (tmp_path / "file.py").write_text("x = 1\n")
    written = page.replace("old\n$ false", "\n$ false")
    written = written.replace("upper())\n```\n", 'upper())\n```\n\n```text title="output"\nONE\nTWO\n```\n')
    written = written.replace('```text title="output"\nold\n```\n\n', "").replace('.py"\n', '.py"\nx = 1\n')
    new = run(page)
    assert MARK.sub("", new) == MARK.sub("", written)
    assert (re.search(MARK, new) or ["", ""])[1] == digest(parsed(new))
    assert run(new) == new
    assert digest(parsed(new.replace("ONE", "1"))) != digest(parsed(new)) != digest(parsed(new.replace("three", "3")))


@pytest.mark.parametrize(
    ("block", "line", "message"),
    [
        ("console\n$ true\n$ exit 3", 3, "exit 3"),
        ("console\n$ true  # exit 1", 2, "exit 0"),
        ("python\nx = 1\n1 / 0", 2, "3"),
    ],
)
def test_failing_blocks_are_reported_with_file_and_line(
    block: str, line: int, message: str, run: Callable[[str], str]
) -> None:
    with pytest.raises(BlockError, match=rf"^docs/page.md:{line}: [\s\S]*{message}"):
        run(f"```{block}\n```\n<!-- ran: -->\n")
