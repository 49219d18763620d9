"""Requests to the page's server without the page."""

import http.cookiejar
import json
import os
import shutil
import socket
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from gradio.routes import App
from PIL import Image

from latentedit.core.errors import ConfigError
from latentedit.page import access
from latentedit.page.access import MAX_UPLOAD_BYTES, UPLOAD_SECONDS, is_open, remove_old, stored_bytes
from tests.keep.page.client import Client
from tests.keep.page.servers import PASSWORD, USER, locked_page, png, routes, served


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[str, Path]]:
    with served() as found:
        yield found


@pytest.fixture(scope="module")
def locked() -> Iterator[tuple[str, Path, App]]:
    with locked_page() as found:
        yield found


def status(
    url: str, content: bytes | None = None, opener: Any = None, method: str | None = None, **headers: str
) -> int:
    """The status of a GET request, or of a POST request with content."""
    named = {name.replace("_", "-"): v for name, v in headers.items()}
    request = urllib.request.Request(url, data=content, headers=named, method=method)
    try:
        with (opener or urllib.request.build_opener()).open(request, timeout=60) as answer:
            answer.read(1)
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.slow
def test_foreign_host_names_are_rejected(server: tuple[str, Path]) -> None:
    assert status(server[0], Host="evil.example:7860") == 400
    assert status(server[0], Host="127.0.0.1") == 200
    assert status(server[0], Host="localhost:1234") == 200


@pytest.mark.slow_cases("gradio_api/file=/etc/passwd")
@pytest.mark.parametrize(
    "path",
    [
        "gradio_api/file=/etc/passwd",
        "gradio_api/file/etc/passwd",
        "gradio_api/file=http://127.0.0.1:22/",
        "gradio_api/proxy=http://127.0.0.1:22/",
        "gradio_api/custom_component/0/client/component/index.js",
        "assets/..%2f..%2f..%2f..%2f..%2fetc%2fpasswd",
        "static/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
    ],
)
def test_no_other_file_or_server_can_be_read(server: tuple[str, Path], path: str) -> None:
    assert 400 <= status(server[0] + path) < 500


def test_uploads_stay_in_their_folder_and_within_the_limit(server: tuple[str, Path]) -> None:
    address, uploads = server
    edge = "edge"
    body = f'--{edge}\r\nContent-Disposition: form-data; name="files"; filename="../../secret.png"\r\n\r\n'.encode()
    content = body + png(Image.new("RGB", (8, 8))) + f"\r\n--{edge}--\r\n".encode()
    kind = f"multipart/form-data; boundary={edge}"
    with urllib.request.urlopen(
        urllib.request.Request(address + "gradio_api/upload", data=content, headers={"Content-Type": kind})
    ) as answer:
        (place,) = json.loads(answer.read())
    assert Path(place).is_relative_to(uploads)
    assert Path(place).is_file()
    too_long = body + b"0" * (MAX_UPLOAD_BYTES + 1) + f"\r\n--{edge}--\r\n".encode()
    assert status(address + "gradio_api/upload", too_long, Content_Type=kind) == 413


def upload(address: str, content: bytes, **headers: str) -> int:
    body = b'--edge\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n%s\r\n--edge--\r\n'
    headers["Content_Type"] = "multipart/form-data; boundary=edge"
    return status(address + "gradio_api/upload", body % content, **headers)


def begun(address: str, stated: int = 49_000_000) -> socket.socket:
    """An upload that brings no more than its first bytes."""
    line = socket.create_connection(("127.0.0.1", urllib.parse.urlparse(address).port), timeout=60)
    kind = f"Content-Type: multipart/form-data; boundary=edge\r\nContent-Length: {stated}\r\n\r\n--edge\r\n"
    line.sendall(f"POST /gradio_api/upload HTTP/1.1\r\nHost: localhost\r\n{kind}".encode())
    return line


def test_what_slow_uploads_state_leaves_room_for_others(
    server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    address, uploads = server
    remove_old(uploads, seconds=0)
    lines = [begun(address) for _ in range(20)]
    time.sleep(0.5)
    monkeypatch.setattr(access, "MAX_STORED_BYTES", 50_000_000)
    assert upload(address, b"1" * 300_000) == 200
    monkeypatch.setattr(access, "MAX_STORED_BYTES", 49_000_000)
    assert upload(address, b"2" * 300_000) == 507, "one of them may still come"
    for line in lines:
        line.close()
    for _ in range(1000):
        if all(list(folder.glob("*/*.png")) for folder in uploads.iterdir()):
            break
        time.sleep(0.02)
    assert upload(address, b"3" * 300_000) == 200, "who has left takes no room"


@pytest.mark.slow_except("x")
@pytest.mark.parametrize("drip", [b"", b"x"])
def test_an_upload_that_brings_too_little_is_ended(
    server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch, drip: bytes
) -> None:
    monkeypatch.setattr(access, "PATIENCE_SECONDS", 0.5)
    before = list(server[1].iterdir())
    with begun(server[0]) as line:
        line.settimeout(0.1)
        for _ in range(200):
            line.sendall(drip)
            try:
                assert line.recv(100).startswith(b"HTTP/1.1 408")
                break
            except TimeoutError:
                continue
        else:
            pytest.fail("it goes on")
    assert list(server[1].iterdir()) == before


_OWN, _SITE, _REFERER = "http://{}", "Sec-Fetch-Site", "Referer"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, 200),
        ({"Origin": _OWN}, 200),
        ({_REFERER: _OWN + "/page"}, 200),
        ({"Origin": "https://images.example", "X-Forwarded-Host": "images.example"}, 200),
        ({"Origin": "https://images.example:8443", "X-Forwarded-Host": "images.example:8443, inner"}, 200),
        ({"Origin": "https://images.example", _SITE: "same-origin"}, 200),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "https://evil.example", "X-Forwarded-Host": "images.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "file://"}, 403),
        ({"Origin": "http://127.0.0.1:1"}, 403),
        ({"Origin": "http://127.0.0.1"}, 403),
        ({"Origin": "http://{}.evil.example"}, 403),
        ({"Origin": "http://evil.example:port"}, 403),
        ({"Origin": ""}, 403),
        ({_REFERER: "https://evil.example/form"}, 403),
        ({_SITE: "cross-site"}, 403),
        ({_SITE: "same-site", "Origin": _OWN}, 403),
    ],
)
def test_only_the_page_itself_and_programs_upload(
    server: tuple[str, Path], headers: dict[str, str], expected: int
) -> None:
    host, before = server[0].removeprefix("http://").strip("/"), stored_bytes(server[1])
    named = {name.replace("-", "_"): value.format(host) for name, value in headers.items()}
    assert upload(server[0], b"content", **named) == expected
    assert (stored_bytes(server[1]) > before) == (expected == 200)
    if expected == 403:
        assert status(server[0] + "gradio_api/run/predict", b"{}", Content_Type="text/plain", **named) == 403
        assert status(server[0], None, **named) == 200, "a link to the page"


def test_equal_files_at_once_are_uploads_of_their_own(server: tuple[str, Path]) -> None:
    remove_old(server[1], seconds=0)
    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(lambda _: upload(server[0], b"1" * 300_000), range(8))) == {200}
    assert stored_bytes(server[1]) == 8 * 300_000
    two = b'\r\n--edge\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
    assert upload(server[0], b"1" + two + b"1") == 400
    assert stored_bytes(server[1]) == 8 * 300_000


def test_tasks_cannot_bypass_the_queue(server: tuple[str, Path]) -> None:
    address = server[0]
    with urllib.request.urlopen(address + "config") as answer:
        events = json.loads(answer.read())["dependencies"]
    queued = [event["id"] for event in events if event["queue"] is not False and event["backend_fn"]]
    assert len(queued) >= 8
    for event in queued:
        body = json.dumps({"fn_index": event, "data": [], "session_hash": "stranger"}).encode()
        assert status(address + "gradio_api/run/predict", body, Content_Type="application/json") == 404


def test_other_machines_need_a_password() -> None:
    with pytest.raises(ConfigError), served(host="0.0.0.0"):
        pass


def test_other_sites_cannot_read_responses(server: tuple[str, Path]) -> None:
    request = urllib.request.Request(server[0] + "config", headers={"Origin": "http://evil.example"})
    with urllib.request.urlopen(request) as answer:
        assert "access-control-allow-origin" not in answer.headers


def test_every_route_but_the_login_page_needs_the_login(locked: tuple[str, Path, App]) -> None:
    address, _, app = locked
    closed = {route for route in routes(app) if not is_open(route[1])}
    assert len(closed) > 60, "Gradio has about 80 routes"
    assert ("GET", "/config") in closed
    assert {path for _, path in routes(app) - closed} - {"/", "/login", "/login/"} == {
        "/assets/1", "/static/1", "/svelte/1", "/theme.css", "/favicon.ico", "/manifest.json",
    }  # fmt: skip
    for method, path in sorted(closed):
        assert status(address + path[1:], method=method) == 401, (method, path)
    page = urllib.request.urlopen(address).read().decode()
    assert "auth_required" in page
    assert "le-save-kept" not in page, "no control of the page is in the log-in page"


def test_a_login_opens_the_page_and_there_is_no_run_history(locked: tuple[str, Path, App]) -> None:
    address, _, app = locked
    wrong = urllib.parse.urlencode({"username": USER, "password": "incorrect"}).encode()
    assert status(address + "login", wrong) == 400
    jar = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))
    right = urllib.parse.urlencode({"username": USER, "password": PASSWORD}).encode()
    assert status(address + "login", right, jar) == 200
    assert status(address + "config", None, jar) == 200
    assert status(address + "gradio_api/runs", None, jar) == 404
    assert not [path for _, path in routes(app) if "run-history" in path]


def test_uploads_that_no_task_reads_are_bounded_and_removed(
    server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    address, uploads = server
    remove_old(uploads, seconds=0)
    assert (stored_bytes(uploads), list(uploads.iterdir())) == (0, [])
    assert upload(address, b"1" * 50_000) == 200
    assert stored_bytes(uploads) == 50_000
    monkeypatch.setattr(access, "MAX_STORED_BYTES", 99_000)
    assert upload(address, b"2" * 50_000) == 507
    assert upload(address, b"3" * 40_000) == 200
    assert stored_bytes(uploads) == 90_000
    (first, _) = sorted((path for path in uploads.rglob("*") if path.is_file()), key=lambda one: one.stat().st_size)[
        ::-1
    ]
    long_ago = time.time() - UPLOAD_SECONDS
    os.utime(first, (long_ago, long_ago))
    remove_old(uploads, seconds=UPLOAD_SECONDS)
    assert stored_bytes(uploads) == 40_000
    assert upload(address, b"2" * 50_000) == 200
    with socket.create_connection(("127.0.0.1", urllib.parse.urlparse(address).port)) as line:
        kind = b"Content-Type: multipart/form-data; boundary=edge\r\nTransfer-Encoding: chunked\r\n\r\n"
        line.sendall(b"POST /gradio_api/upload HTTP/1.1\r\nHost: localhost\r\n" + kind)
        assert line.recv(100).startswith(b"HTTP/1.1 411"), "a body without a length has no end"


def test_old_uploads_are_removed_while_the_page_is_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "_SWEEP_SECONDS", 0.01)
    failures = iter([OSError("no disk"), RuntimeError("any")])

    def remove(folder: Path, *, seconds: float) -> None:
        for failure in failures:
            raise failure
        remove_old(folder, seconds=seconds)

    monkeypatch.setattr(access, "remove_old", remove)
    files = [tmp_path / "hash" / "old.png", tmp_path / "new.png", tmp_path / "broken connection"]
    files[0].parent.mkdir()
    for file in files:
        file.write_bytes(b"content")
    for file in files[::2]:
        os.utime(file, (0, 0))
    with access.sweeping(tmp_path):
        for _ in range(1000):
            if not any(file.exists() for file in files[::2]):
                break
            time.sleep(0.01)
    assert [file.exists() for file in files] == [False, True, False]


@pytest.mark.slow
@pytest.mark.parametrize("walk", [stored_bytes, lambda folder: remove_old(folder, seconds=3600)])
def test_folders_that_go_meanwhile_are_passed_over(tmp_path: Path, walk: Callable[[Path], object]) -> None:
    ended = threading.Event()

    def come_and_go() -> None:
        while not ended.is_set():
            for number in range(20):
                (tmp_path / str(number) / "digest").mkdir(parents=True)
                (tmp_path / str(number) / "digest" / "a.png").write_bytes(b"x")
            for number in range(20):
                shutil.rmtree(tmp_path / str(number))

    with ThreadPoolExecutor(1) as threads:
        coming = threads.submit(come_and_go)
        try:
            for _ in range(300):
                walk(tmp_path)
        finally:
            ended.set()
        coming.result()


def test_a_visit_that_has_ended_leaves_nothing_with_gradio(locked: tuple[str, Path, App]) -> None:
    address, _, app = locked
    held = app.state_holder.session_data
    page = Client(address, login=(USER, PASSWORD))
    assert len(held) == 1
    page.leave()
    for _ in range(1000):
        if not held:
            break
        time.sleep(0.02)
    assert list(held) == []
