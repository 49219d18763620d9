"""Copies the pack, with latentedit inside, into ComfyUI: ``python build.py .../ComfyUI/custom_nodes``."""

import shutil
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent


def build(folder: Path) -> Path:
    """Write the pack into a folder of this name in ``folder``, in place of an older one, and return it."""
    pack = folder / "latentedit"
    shutil.rmtree(pack, ignore_errors=True)
    skipped = shutil.ignore_patterns("__pycache__", "build.py", "carried")
    shutil.copytree(HERE, pack, ignore=skipped)
    for image in (HERE / "example_workflows").glob("*.jpg"):
        shutil.copy(image, pack / "web/docs")  # ComfyUI shows no other images in help pages
    shutil.copytree(ROOT / "src/latentedit", pack / "carried/latentedit", ignore=skipped)
    write_metadata(pack / "carried")
    return pack


def write_metadata(folder: Path) -> None:
    """Write what a program looks up of latentedit where it is not installed: its version."""
    for older in folder.glob("*.dist-info"):
        shutil.rmtree(older)
    assignment = (ROOT / "src/latentedit/_version.py").read_text(encoding="utf-8").splitlines()[-1]
    version = assignment.split('"')[1]
    facts = folder / f"latentedit-{version}.dist-info"
    facts.mkdir(parents=True)
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: latentedit\nVersion: {version}\n")
    shutil.copy(ROOT / "LICENSE", facts)


if __name__ == "__main__":
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_dir():
        sys.exit("usage: python build.py .../ComfyUI/custom_nodes")
    sys.stdout.write(f"wrote {build(Path(sys.argv[1]))}\n")
