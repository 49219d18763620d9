"""What people type, what they type it in, and who answers: command lines, captions, environments, endpoints, pages."""

import asyncio
import html.parser
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from hypothesis import strategies as st
from PIL import Image

from latentedit.api.viewer.page import viewer_page
from latentedit.app.gate import Gate
from latentedit.cli import main
from latentedit.cli.strengths import parse_strengths
from latentedit.core.errors import LatentEditError, ModelError
from latentedit.latents.captions.change import Change
from latentedit.latents.captions.endpoint import VisionEndpoint
from latentedit.latents.captions.phrases import read_phrases
from latentedit_keep.files import write_text
from tests.fuzz.judge import FaultError, Target, check_printed, told
from tests.fuzz.texts import HOSTILE, STEERING, as_json

_WORDS = st.sampled_from([
    "a.png", "nothing.png", "folder", "loop.png", "pipe", "m.yaml", "-o", "out.png", "--change", "=> glasses",
    "hat =>", "a => b => c",
    "--from", "a man", "--to", "--strength", "--strength=-1", "1e308", "nan", "--strengths=-1:1:3",
    "--strengths=0:0:2", "--seed",
    "--model", "--method", "eim", "sdedit", "--mask", "--json", "--quiet", "--device", "meta", "--dtype", "float8",
    "--captioner",
    "openai:", "~nobody/x", "--lora", "a.png:x", "--sheet", "--view", "page.html", "--help", "--debug", "--batch",
    "-1", "--workers",
    "0", "--direction", "d.safetensors", "--rank", "--items", "--", "-", "", "@", "--local", "--no-local", STEERING,
    "\udcff.png",
    "A" * 300, "http://x", "--output", ".", "..", "/dev/full", "/proc/self/mem", "--data", "--retry",
])  # fmt: skip
_COMMANDS = st.sampled_from([
    ["edit"], ["sweep"], ["undo"], ["replay"], ["caption"], ["path"], ["discover"], ["transport"],
    ["keep"], ["models", "show"],
    ["models", "path"], ["models", "list"], ["models", "families"], ["models", "verify"], ["direction", "show"],
    ["direction", "make"],
    ["direction", "mean"], ["bench", "run", "m.yaml"], ["bench", "status"], ["bench", "report"], ["bench", "resume"],
    ["bench", "data", "m.yaml"], ["bench", "tune", "m.yaml"], ["bench", "methods"],
    ["reproduce", "nonsense"], ["nonsense"],
    ["--version"], [],
])  # fmt: skip


def _no_model(*_: object, **__: object) -> None:
    raise ModelError("no model is loaded here. Go on")


def _type(words: list[str], folder: Path) -> None:
    Image.new("RGB", (8, 8)).save(folder / "a.png")
    (folder / "folder").mkdir()
    (folder / "loop.png").symlink_to(folder / "loop.png")
    os.mkfifo(folder / "pipe")
    (folder / "m.yaml").write_text("- {picture: a.png, source_caption: a man, target_caption: a dog}\n")
    (folder / "d.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{}      ")
    before = Path.cwd()
    os.chdir(folder)
    try:
        with (
            mock.patch("latentedit.models.registry.load", _no_model),
            mock.patch("latentedit.models.registry.look_up", _no_model),
        ):
            told(*words)
    finally:
        os.chdir(before)


_PIECES = st.sampled_from([
    "a ", "and ", "no ", "without ", "with ", "a hat", "glasses", ", ", ".", "!", " ", "\n", "\t", "1,000",
    "wearing ", "the ", "é", "\u202e",
    "[", "(", "\\", "a man", "=>",
])  # fmt: skip
_CAPTIONS = st.lists(st.tuples(_PIECES | st.text(max_size=4), st.sampled_from([1, 1, 1, 2, 30, 1500])), max_size=6).map(
    lambda parts: "".join(text * count for text, count in parts)
)


def _caption(given: tuple[str, str, str], folder: Path) -> None:
    caption, old, new = given
    began = time.process_time()
    try:
        read_phrases(caption, lead=True)
        Change.parse(f"{old} => {new}").apply(caption)
        Change(old=old, new=new).apply(caption)
    finally:
        spent = time.process_time() - began
        if spent > 2:
            raise FaultError(f"{spent:.1f} s for captions of {len(caption)}, {len(old)} and {len(new)} letters")


def _strengths(text: str, folder: Path) -> None:
    for one in parse_strengths(text):
        assert abs(one) < float("inf")


_ENVIRONMENTS = st.fixed_dictionaries(
    {
        "set": st.dictionaries(
            st.sampled_from([
                "HOME", "TMPDIR", "LANG", "LC_ALL", "COLUMNS", "LINES", "TERM", "NO_COLOR", "FORCE_COLOR",
                "PYTHONIOENCODING", "HF_HOME",
                "OPENAI_BASE_URL", "OPENAI_API_KEY", "XDG_CACHE_HOME", "LATENTEDIT_APP_PASSWORD",
                "_LATENTEDIT_COMPLETE", "TZ",
            ]),
            st.sampled_from(["", "/nowhere", "/dev/null", "tr_TR.UTF-8", "C", "abc", "1", "-5", "dumb",
            "http://[::1", "9" * 50, "\x1b[31m", "utf-8"]),
            max_size=4,
        ),
        "closed": st.lists(st.sampled_from([0, 1, 2]), unique=True),
        "full": st.lists(st.sampled_from([1, 2]), unique=True, max_size=2),
        "gone": st.booleans(),
        "words": st.sampled_from([["--version"], ["--help"], ["edti"], ["models", "list"], ["edit", "nothing.png",
        "--change", "=> hat"]]),
    }
)  # fmt: skip


_COLOUR = re.compile("\x1b\\[[0-9;]*m")


def _environment(given: dict[str, Any], folder: Path) -> None:
    """The whole program, in a child of this process."""
    out, err = folder / "out", folder / "err"
    (folder / "gone").mkdir()
    child = os.fork()
    if child == 0:
        code = 99
        try:
            os.environ.update(given["set"])
            os.chdir(folder / "gone")
            if given["gone"]:
                (folder / "gone").rmdir()
            for number, place in ((1, out), (2, err)):
                where = "/dev/full" if number in given["full"] else place
                os.dup2(os.open(where, os.O_WRONLY | os.O_CREAT), number)
            for number in given["closed"]:
                os.close(number)
            sys.stdout, sys.stderr = (
                None if number in given["closed"] else open(number, "w", closefd=False)  # noqa: SIM115
                for number in (1, 2)
            )
            sys.argv = ["latentedit", *given["words"]]
            main.main()
        except SystemExit as leaving:
            code = leaving.code if isinstance(leaving.code, int) else 0
        except BaseException:  # noqa: BLE001 (a child never comes back)
            code = 98
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    said = [place.read_text("utf-8", "replace") if place.exists() else "" for place in (out, err)]
    if given["set"].get("FORCE_COLOR"):  # colours were asked for
        said = [_COLOUR.sub("", text) for text in said]
    deaf = 2 in {*given["closed"], *given["full"]}  # what went wrong cannot be told
    check_printed(1 if deaf and code == 2 else code, said[0], said[1])


_GOOD = b'{"choices": [{"message": {"content": "a man"}}]}'
_LINES = st.sampled_from([
    b"HTTP/1.1 200 OK", b"HTTP/1.1 200 OK", b"HTTP/1.1 200 OK", b"HTTP/1.1 302 Found", b"HTTP/1.1 429 x",
    b"HTTP/1.1 500 x", b"HTTP/1.1 401 x",
    b"HTTP/9 200", b"nonsense", b"HTTP/1.1 99999999999999999999 x", b"HTTP/1.1 204 No",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK", b"",
])  # fmt: skip
_HEADERS = st.lists(
    st.sampled_from([
        b"Content-Type: application/json", b"Content-Length: 99999999999999999999", b"Content-Length: -1",
        b"Content-Length: 5",
        b"Transfer-Encoding: chunked", b"Location: http://[::1", b"Location: file:///etc/passwd",
        b"Retry-After: 1e9", b"Retry-After: -1",
        b"Retry-After: x", b"Content-Encoding: gzip", b"Content-Encoding: x", b"x" * 70_000 + b": 1",
        b"Set-Cookie: \x1b[31m", b": x", b"\x00: y",
        b"Connection: keep-alive",
    ]),
    max_size=4,
)  # fmt: skip
_BODIES = st.one_of(
    st.just(_GOOD),
    st.sampled_from(HOSTILE).map(lambda value: as_json({"choices": [{"message": {"content": value}}]})),
    st.sampled_from(HOSTILE).map(lambda value: as_json({"error": {"message": value}})),
    st.sampled_from([b"[" * 100_000, b"", b"-5\r\nx", b"ffffffffffffffff\r\nx", b"x" * 2_000_000,
    b"\x1f\x8b\x08" + b"\0" * 90, b"5\r\nabcde\r\n0\r\n\r\n"]),
    st.binary(max_size=60),
)  # fmt: skip
_KEY = "sk-0123456789abcdef0123"


def _endpoint(given: tuple[bytes, list[bytes], bytes, bool], folder: Path) -> None:
    """A server that says these bytes to everybody."""
    line, headers, body, measured = given
    lengths = [b"Content-Length: %d" % len(body)] if measured else []
    answer = b"\r\n".join([line, *headers, *lengths, b"", body])
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    with server.accept()[0] as client:
                        client.settimeout(1)
                        client.recv(65_536)
                        client.sendall(answer)
                        client.shutdown(socket.SHUT_WR)
                        while client.recv(65_536):
                            pass
                except OSError:
                    if server.fileno() == -1:
                        return

        threading.Thread(target=serve, daemon=True).start()
        told_by = {
            "OPENAI_BASE_URL": f"http://127.0.0.1:{server.getsockname()[1]}/v1",
            "OPENAI_API_KEY": _KEY,
            "NO_PROXY": "127.0.0.1",
        }
        try:
            with mock.patch.dict(os.environ, told_by), mock.patch("openai._base_client.time.sleep"):
                (caption,) = VisionEndpoint("m", timeout_seconds=1.0).caption(torch.zeros(1, 3, 4, 4))
        except LatentEditError as error:
            if _KEY in str(error) or "\n" in str(error):
                raise FaultError(f"the error is {error}") from None
            raise
        finally:
            server.shutdown(socket.SHUT_RDWR)
    if _KEY in caption or "\n" in caption:
        raise FaultError(f"the caption is {caption!r}")


class _Tags(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.seen.append(tag)


_SHOWN = st.text(max_size=30) | st.sampled_from([
    "</script><script>alert(1)</script>", "<!--", "]]>", "<img src=x onerror=1>", "&quot;", STEERING, "$title",
    "${x}", "\u2028",
])  # fmt: skip


def _page(given: dict[str, Any], folder: Path) -> None:
    seen = _Tags()
    seen.feed(viewer_page(given).replace("\r", " "))
    plain = _Tags()
    plain.feed(viewer_page({"title": "x"}))
    if seen.seen != plain.seen:
        raise FaultError(f"texts made tags: {seen.seen}")


def _gate(given: tuple[str, list[tuple[bytes, bytes]], str | None], folder: Path) -> None:
    """What passes is an address that the page needs, asked for under its own name."""
    path, headers, host = given
    passed: list[str] = []
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        passed.append(scope["path"])
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def send(message: Any) -> None:
        sent.append(message)

    gate = Gate(app, None if host is None else frozenset({host}))
    asyncio.run(gate({"type": "http", "path": path, "headers": headers}, None, send))  # type: ignore[arg-type]
    if not sent or sent[0]["status"] not in (200, 404, 421):
        raise FaultError("no answer")
    if passed and (".." in path or "file" in path.removeprefix("/assets")):
        raise FaultError(f"{path!r} was let through")


def _write(given: tuple[int, int, int], folder: Path) -> None:
    """Writers of one file at a time, some of which are killed: it is one of theirs, whole."""
    writers, length, seed = given
    draw, place = random.Random(seed), folder / "it.txt"
    write_text(place, "x" * length)
    script = (
        "import sys; from latentedit.core.files.writing import write_text\n"
        "while True: write_text(sys.argv[1], sys.argv[2] * int(sys.argv[3]))"
    )
    running = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(place), chr(97 + number), str(length)], stderr=subprocess.PIPE
        )
        for number in range(writers)
    ]
    try:
        until = time.monotonic() + 2
        while time.monotonic() < until:
            if len(set(text := place.read_text())) != 1 or len(text) != length:
                raise FaultError(f"it has {len(text)} letters of {length}, of {len(set(text))} writers")
            time.sleep(0.01 * draw.random())
    finally:
        for one in running:
            one.send_signal(signal.SIGKILL)
            _, said = one.communicate()
            if said:
                raise FaultError(said.decode())
    text = place.read_text()
    if len(set(text)) != 1 or len(text) != length:
        raise FaultError("half a file after the kill")
    for left in folder.glob(".*.tmp"):  # a killed process cannot clean up
        left.unlink()


_PATHS = st.sampled_from([
    "/", "/login", "/config", "/assets/x.js", "/assets/../file=/etc/passwd", "/gradio_api/file=/etc/passwd",
    "/gradio_api/queue/join", "//", "",
    "/gradio_api/upload", "/file=x", "/static/..%2f..", "/gradio_api/proxy=http://x", "/svelte/\n", "/theme.css\x00",
]) | st.text(max_size=30)  # fmt: skip

TARGETS = [
    Target(
        name="command lines",
        inputs=st.builds(lambda a, b: [*a, *b], _COMMANDS, st.lists(_WORDS, max_size=7)),
        act=_type,
    ),
    Target(name="captions", inputs=st.tuples(_CAPTIONS, _CAPTIONS, _CAPTIONS), act=_caption),
    Target(
        name="strengths",
        inputs=st.lists(st.sampled_from([*"0123456789.:,-+ e", "nan", "inf", "1e400", "٣"]), max_size=12).map("".join),
        act=_strengths,
    ),
    Target(name="environments", inputs=_ENVIRONMENTS, act=_environment),
    Target(name="endpoint answers", inputs=st.tuples(_LINES, _HEADERS, _BODIES, st.booleans()), act=_endpoint),
    Target(
        name="pages",
        inputs=st.fixed_dictionaries(
            {"title": _SHOWN, "frames": st.lists(st.dictionaries(_SHOWN, _SHOWN, max_size=3), max_size=3)}
        ),
        act=_page,
    ),
    Target(
        name="addresses of the page",
        inputs=st.tuples(
            _PATHS,
            st.lists(
                st.tuples(st.sampled_from([b"host", b"x"]), st.binary(max_size=12) | st.just(b"localhost:7860")),
                max_size=3,
            ),
            st.sampled_from([None, "localhost"]),
        ),
        act=_gate,
    ),
    Target(
        name="writers of one file",
        inputs=st.tuples(st.integers(2, 5), st.integers(1, 200_000), st.integers(0, 99)),
        act=_write,
    ),
]
