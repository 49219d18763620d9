"""Whether edits are still the same, pixel by pixel: forty outputs of the command line on the bundled models.

    python benchmarks/recorded.py out/before       record, on the commit before a change
    python benchmarks/recorded.py out/after        the same after it; both go on where they were stopped
    python benchmarks/recorded.py out/before out/after     compare: identical, or the difference in dB

Each step is a command below; later steps use the files of earlier ones. What cannot be opened as an image is compared
by its bytes.
"""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from latentedit.cli.main import main

PICTURES = Path(__file__).resolve().parents[1] / "docs" / "pictures"
GLASSES = '--change "=> glasses"'

STEPS = {
    "plain.png": f"edit me.png {GLASSES}",
    "half.png": f"edit me.png {GLASSES} --strength 0.5",
    "negative.png": f"edit me.png {GLASSES} --strength=-0.5",
    "zero.png": f"edit me.png {GLASSES} --strength 0",
    "seed.png": f"edit me.png {GLASSES} --seed 7",
    "everywhere.png": f"edit me.png {GLASSES} --no-auto-mask",
    "masked.png": "edit me.png --change '=> pink hair' --mask mask.png",
    "two.png": "edit you.png --add glasses --add 'a smile' --strength 0.7 --strength 1",
    "inverse.png": "edit you.png --add glasses --add 'a smile' --combine inverse",
    "removed.png": "edit plain.png --remove glasses --force",
    "to.png": "edit me.png --source-prompt 'a person with brown hair' --prompt 'a person with pink hair'",
    "said.png": f"edit me.png --source-prompt 'a person with black hair' {GLASSES}",
    "bfloat16.png": f"edit me.png {GLASSES} --dtype bfloat16",
    "large.png": f"edit large.png {GLASSES} --strength 0.8",
    "unet.png": f"edit me.png {GLASSES} --model portraits-unet",
    "pixels.png": f"edit small.png {GLASSES} --source-prompt 'black hair' --model pixels-portraits --force",
    "kontext.png": "edit me.png --instruction 'add glasses' --model portraits-kontext",
    "kontext-half.png": "edit me.png --instruction 'make the hair pink' --strength 0.5 --model portraits-kontext",
    "kontext-flow.png": "edit me.png --instruction 'add glasses' --method flowedit --model portraits-kontext",
    "scene.png": "edit scene.png --change 'red => blue' --model scenes --force",
    "flowedit.png": f"edit me.png {GLASSES} --method flowedit",
    "sdedit.png": f"edit me.png {GLASSES} --method sdedit",
    "dds.png": f"edit me.png {GLASSES} --method dds",
    "splitflow.png": f"edit me.png {GLASSES} --method splitflow",
    "ddpm.png": f"edit me.png {GLASSES} --method edit-friendly-ddpm --model portraits-unet",
    "local.png": f"edit me.png {GLASSES} --method flowedit --auto-mask",
    "sweep.png": f"sweep me.png {GLASSES} --strengths=-1:1:5",
    "sweep-text.png": "sweep me.png --change '=> pink hair' --arm text --strengths 0:1:3",
    "sweep-joint.png": "sweep me.png --change '=> pink hair' --arm joint --strengths 0:1:3",
    "sweep-slider.png": f"sweep me.png {GLASSES} --method flowslider --strengths 0:1:3",
    "smile.safetensors": "direction make me.png you.png --change '=> a smile'",
    "applied.png": "edit portraits/anna.png --direction smile.safetensors --strength 0.7",
    "shown.png": "direction preview smile.safetensors --on you.png --strengths=-1:1:3",
    "undone.png": "undo half.png",
    "undone-jpg.png": "undo applied.png --direction smile.safetensors --strength 0.7",
    "again.png": "replay two.png",
    "folder": "edit portraits --change '=> glasses' --workers 1",
    "found": "discover me.png --rank 3",
    "carried.safetensors": "transport found/03-hair-bob.safetensors --target you.png",
    "path.png": "path me.png you.png --frames 5",
    "caption.txt": "caption me.png",
    "caption-scene.txt": "caption scene.png --captioner scenes",
}


def prepare(folder: Path) -> None:
    """The images that the steps start from."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("me.png", "you.png", "portraits"):
        (shutil.copytree if name == "portraits" else shutil.copy)(PICTURES / name, folder / name)
    with Image.open(PICTURES / "me.png") as image:
        image.resize((700, 700)).save(folder / "large.png")
        image.resize((64, 64)).save(folder / "small.png")
        mask = Image.new("L", image.size)
        mask.paste(255, (0, 0, image.width, image.height // 2))
        mask.save(folder / "mask.png")
    script = "from latentedit_scenes.attributes import draw_split; from latentedit_scenes.domain import SCENES; "
    script += "from PIL import Image; import sys; "
    script += "Image.fromarray(SCENES.render(draw_split('test', 1, 3)[0])).save(sys.argv[1])"
    subprocess.run([sys.executable, "-c", script, str(folder / "scene.png")], check=True)


def run(words: list[str], output: Path | None) -> int:
    """The exit code of a command, in a fork of this process, which has loaded the libraries."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if output is not None:
        os.dup2(os.open(output, os.O_WRONLY | os.O_CREAT), 1)
    sys.argv = ["latentedit", *words]
    main()
    os._exit(0)


def record(folder: Path) -> None:
    """Run what has not been run in the folder."""
    if not folder.exists():
        prepare(folder)
    os.chdir(folder)
    for name, command in STEPS.items():
        if Path(name).exists():
            continue
        print(f"{name}: {command}", flush=True)
        text = name.endswith(".txt")
        words = shlex.split(command) + ([] if text else ["-o", name, "-q"])
        code = run(words, Path(name) if text else None)
        if code:
            print(f"  exit code {code}", flush=True)


def compare(before: Path, after: Path) -> None:
    """Print what differs."""
    files = [file for name in STEPS for file in ([before / name] if "." in name else (before / name).rglob("*.*"))]
    for file in files:
        name = file.relative_to(before)
        other = after / name
        if not file.exists() or not other.exists():
            print(f"{name}: {'not recorded' if not file.exists() else 'MISSING'}")
            continue
        try:
            old, new = (np.asarray(Image.open(one).convert("RGBA"), np.float64) for one in (file, other))
        except UnidentifiedImageError:
            if file.suffix != ".json":
                print(f"{name}: {'identical' if file.read_bytes() == other.read_bytes() else 'DIFFERENT bytes'}")
            continue
        if old.shape != new.shape:
            print(f"{name}: DIFFERENT sizes")
        else:
            error = np.square(old - new).mean()
            print(f"{name}: {'identical' if error == 0 else f'{10 * np.log10(255**2 / error):.1f} dB'}")


if __name__ == "__main__":
    if len(sys.argv) == 3:
        compare(Path(sys.argv[1]), Path(sys.argv[2]))
    else:
        record(Path(sys.argv[1]))
