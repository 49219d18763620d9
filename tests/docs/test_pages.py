"""Pages show what their blocks gave: the digest holds them to it, and the runner does what its docstring says."""

import re
from pathlib import Path

import pytest
from tools import pages, pictures, running
from tools.blocks import Block, parsed
from tools.pages import MARK, digest
from tools.running import BlockError

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


def test_files_of_the_repository_are_shown_as_they_are() -> None:
    blocks = [part for path in PAGES for part in parsed(path.read_text(encoding="utf-8")) if isinstance(part, Block)]
    files = [part for part in blocks if (ROOT / part.title).is_file()]
    assert [one.title for one in files if one.text.rstrip() != (ROOT / one.title).read_text("utf-8").rstrip()] == []


def test_what_pages_show_is_there_and_small() -> None:
    shown = {place for path in PAGES for place in pictures.shown(path.read_text(encoding="utf-8"))}
    assert [place for place in sorted(shown) if not (pictures.PICTURES / place).is_file()] == []
    kept = [path for path in pictures.PICTURES.rglob("*") if path.is_file()]
    assert [path for path in kept if path.stat().st_size > pictures.MOST_BYTES] == []
    assert sum(path.stat().st_size for path in kept) < 4e6


def test_what_stands_below_the_pictures_is_shown() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in [*PAGES, ROOT / "README.md"])
    kept = [path.relative_to(pictures.PICTURES) for path in pictures.PICTURES.rglob("*") if path.is_file()]
    given = [path for path in kept if path.parts[0] in running.GIVEN]
    assert [path for path in kept if path not in given and path.as_posix() not in text] == []


def run(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A page after its blocks were run, in a repository of its own."""
    for module in (pages, running, pictures):
        monkeypatch.setattr(module, "ROOT", tmp_path, raising=False)
    monkeypatch.setattr(pictures, "PICTURES", tmp_path / "docs" / "pictures")
    monkeypatch.setattr(running, "GIVEN", ())
    path = tmp_path / "docs" / "page.md"
    path.parent.mkdir(exist_ok=True)
    return pages.run(path, page)


@pytest.mark.slow
def test_output_is_written_below_commands_and_after_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = """# A
```console
$ printf 'one\\ntwo\\n' \\
    > b.txt
old
$ cat b.txt
$ false  # exit 1
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
    new = run(page, tmp_path, monkeypatch)
    assert (
        MARK.sub("", new)
        == """# A
```console
$ printf 'one\\ntwo\\n' \\
    > b.txt

$ cat b.txt
one
two

$ false  # exit 1
```

```python
text = open("b.txt").read()
print(text.upper())
```

```text title="output"
ONE
TWO
```

```python
text = text + "three"
```

```python title="file.py"
x = 1
```

"""
    )
    assert (re.search(MARK, new) or ["", ""])[1] == digest(parsed(new))
    assert run(new, tmp_path, monkeypatch) == new
    assert digest(parsed(new.replace("ONE", "1"))) != digest(parsed(new)) != digest(parsed(new.replace("three", "3")))


def test_a_machine_s_figures_stay_until_something_else_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = "```console\n$ echo {}\n{}\n```\n<!-- ran: -->\n"
    assert "\n28 evaluations, 9.9 s, 12 MB\n" in run(
        page.format("28 evaluations, 1.3 s, 639 MB", "28 evaluations, 9.9 s, 12 MB"), tmp_path, monkeypatch
    )
    assert "\n28 evaluations, 1.3 s\n" in run(
        page.format("28 evaluations, 1.3 s", "29 evaluations, 9.9 s"), tmp_path, monkeypatch
    )


@pytest.mark.parametrize(
    ("block", "line", "told"),
    [
        ("console\n$ true\n$ exit 3", 3, "exit 3"),
        ("console\n$ true  # exit 1", 2, "exit 0"),
        ("python\nx = 1\n1 / 0", 2, "line 3"),
    ],
)
def test_a_block_that_fails_says_where(
    block: str, line: int, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BlockError, match=rf"^docs/page.md:{line}: [\s\S]*{told}"):
        run(f"```{block}\n```\n<!-- ran: -->\n", tmp_path, monkeypatch)


@pytest.mark.slow
def test_pictures_come_from_the_scratch_folder_as_they_are_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = "from PIL import Image\nImage.new('RGB', (8, 8), 'red').save('a.png')"
    page = f"```python\n{draw}\n```\n![a](../pictures/page/a.webp)\n<!-- ran: -->\n"
    run(page, tmp_path, monkeypatch)
    made = tmp_path / "docs" / "pictures" / "page" / "a.webp"
    before = made.stat().st_mtime_ns
    assert made.read_bytes()[8:12] == b"WEBP"
    run(page, tmp_path, monkeypatch)
    assert made.stat().st_mtime_ns == before
    with pytest.raises(FileNotFoundError, match=r"b\.webp"):
        run(page.replace("a.webp", "b.webp"), tmp_path, monkeypatch)
