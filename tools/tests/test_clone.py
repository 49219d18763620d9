"""The small clone of CONTRIBUTING.md, from a bare mirror that filters like hosts."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MIB = 2**20


def size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


@pytest.mark.nightly
def test_the_small_clone_has_no_old_weights_and_can_be_completed(tmp_path: Path) -> None:
    mirror, clone = tmp_path / "mirror.git", tmp_path / "latentedit"
    subprocess.run(["git", "clone", "--quiet", "--bare", str(ROOT), str(mirror)], check=True)
    subprocess.run(["git", "-C", str(mirror), "branch", "--force", "main", "HEAD"], check=False)
    for name in ("allowFilter", "allowAnySHA1InWant"):
        subprocess.run(["git", "-C", str(mirror), "config", f"uploadpack.{name}", "true"], check=True)
    block = re.search(r"```\n(git clone --filter.*?)```", (ROOT / "CONTRIBUTING.md").read_text("utf-8"), re.DOTALL)
    assert block
    small, rest = block[1].replace("REPOSITORY", mirror.as_uri()).split("git sparse-checkout disable")
    subprocess.run(["bash", "-ec", small], cwd=tmp_path, check=True)
    assert size(clone / ".git") < 60 * MIB
    network = "transformer/diffusion_pytorch_model.safetensors"
    portraits = clone / "models/portraits/src/latentedit_portraits/weights/portraits"
    scenes = clone / "research/scenes/src/latentedit_scenes/weights/scenes"
    assert (portraits / network).stat().st_size > 30 * MIB
    assert not scenes.exists()
    subprocess.run(["bash", "-ec", f"git sparse-checkout disable{rest}"], cwd=clone, check=True)
    assert (scenes / network).stat().st_size > 30 * MIB
    assert size(clone / ".git") < 0.6 * size(mirror)
