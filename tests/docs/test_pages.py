"""Pages show what their blocks gave: the digest holds them to it, and the runner does what its docstring says."""

import re
from pathlib import Path

import pytest
from tools import pages, running
from tools.pages import MARK, digest
from tools.running import Block, BlockError, parsed

ROOT = Path(__file__).parents[2]
PAGES = sorted(ROOT.glob("docs/**/*.md"))


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_blocks_of_a_page_were_run_as_they_stand(path: Path) -> None:
    """Where this fails: python -m tools.pages PAGE."""
    text = path.read_text(encoding="utf-8")
    parts = parsed(text)
    assert "".join(map(str, parts)) == text
    run = [part for part in parts if isinstance(part, Block) and part.language in ("console", "python")]
    mark = MARK.search(text)
    assert (mark is not None) == bool(run)
    if mark is not None:
        assert mark[1] == digest(parts)


def test_files_and_images_on_pages_are_those_of_the_repository() -> None:
    texts = [path.read_text(encoding="utf-8") for path in PAGES]
    blocks = [part for text in texts for part in parsed(text) if isinstance(part, Block)]
    files = [part for part in blocks if (ROOT / part.title).is_file()]
    assert [one.title for one in files if one.text.rstrip() != (ROOT / one.title).read_text("utf-8").rstrip()] == []
    shown = {place for text in texts for place in pages.shown(text)}
    assert [place for place in sorted(shown) if not (pages.IMAGES / place).is_file()] == []
    kept = [path for path in pages.IMAGES.rglob("*") if path.is_file()]
    assert max(path.stat().st_size for path in kept) <= pages.MOST_BYTES
    assert sum(path.stat().st_size for path in kept) < 4e6


def run(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A page after its blocks were run, in a repository of its own."""
    for module in (pages, running):
        monkeypatch.setattr(module, "ROOT", tmp_path, raising=False)
    monkeypatch.setattr(pages, "IMAGES", tmp_path / "docs" / "images")
    monkeypatch.setattr(running, "GIVEN", ())
    path = tmp_path / "docs" / "page.md"
    path.parent.mkdir(exist_ok=True)
    return pages.run(path, page)


def test_output_is_written_below_commands_and_after_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
    new = run(page, tmp_path, monkeypatch)
    assert MARK.sub("", new) == MARK.sub("", written)
    assert (re.search(MARK, new) or ["", ""])[1] == digest(parsed(new))
    assert run(new, tmp_path, monkeypatch) == new
    assert digest(parsed(new.replace("ONE", "1"))) != digest(parsed(new)) != digest(parsed(new.replace("three", "3")))


@pytest.mark.parametrize(
    ("block", "line", "message"),
    [
        ("console\n$ true\n$ exit 3", 3, "exit 3"),
        ("console\n$ true  # exit 1", 2, "exit 0"),
        ("python\nx = 1\n1 / 0", 2, "3"),
    ],
)
def test_a_block_that_fails_states_where(
    block: str, line: int, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BlockError, match=rf"^docs/page.md:{line}: [\s\S]*{message}"):
        run(f"```{block}\n```\n<!-- ran: -->\n", tmp_path, monkeypatch)
