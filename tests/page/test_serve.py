"""Requests to the page's server without the page."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from gradio.state_holder import StateHolder
from PIL import Image

from latentedit.page.page import MAX_UPLOAD_BYTES
from tests.page.client import Client
from tests.page.servers import png, served

MULTIPART = "multipart/form-data; boundary=edge"


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[str, Path]]:
    with served() as found:
        yield found


def status(url: str, content: bytes | None = None, **headers: str) -> int:
    """The status of a GET request, or of a POST request with content."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(url, data=content, headers=named)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            answer.read(1)
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def form(content: bytes, name: str = "a.png") -> bytes:
    """The body of a request that uploads a file."""
    disposition = f'Content-Disposition: form-data; name="files"; filename="{name}"'
    return f"--edge\r\n{disposition}\r\n\r\n".encode() + content + b"\r\n--edge--\r\n"


def upload(address: str, content: bytes, **headers: str) -> int:
    return status(address + "gradio_api/upload", form(content), Content_Type=MULTIPART, **headers)


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
        "gradio_api/file=http://127.0.0.1:22/",
        "gradio_api/proxy=http://127.0.0.1:22/",
        "assets/..%2f..%2f..%2f..%2f..%2fetc%2fpasswd",
    ],
)
def test_no_other_file_or_server_can_be_read(server: tuple[str, Path], path: str) -> None:
    assert 400 <= status(server[0] + path) < 500


def test_uploads_stay_in_their_folder_and_within_the_limit(server: tuple[str, Path]) -> None:
    address, uploads = server
    body = form(png(Image.new("RGB", (8, 8))), name="../../secret.png")
    headers = {"Content-Type": MULTIPART}
    request = urllib.request.Request(address + "gradio_api/upload", data=body, headers=headers)
    with urllib.request.urlopen(request) as answer:
        (place,) = json.loads(answer.read())
    assert Path(place).is_relative_to(uploads)
    assert Path(place).is_file()
    assert upload(address, b"0" * (MAX_UPLOAD_BYTES + 1)) == 413


@pytest.mark.parametrize(
    ("site", "expected"), [("", 200), ("same-origin", 200), ("same-site", 403), ("cross-site", 403)]
)
def test_only_the_page_itself_and_programs_send_data(server: tuple[str, Path], site: str, expected: int) -> None:
    headers = {"Sec_Fetch_Site": site} if site else {}
    assert upload(server[0], b"content", **headers) == expected
    assert status(server[0], None, **headers) == 200, "a link to the page"


def test_other_sites_cannot_read_responses(server: tuple[str, Path]) -> None:
    headers = {"Origin": "http://evil.example"}
    request = urllib.request.Request(server[0] + "config", headers=headers)
    with urllib.request.urlopen(request) as answer:
        assert "access-control-allow-origin" not in answer.headers


def test_a_closed_page_leaves_nothing_with_gradio(monkeypatch: pytest.MonkeyPatch) -> None:
    holders: list[StateHolder] = []
    create = StateHolder.__init__

    def remember(holder: StateHolder) -> None:
        create(holder)
        holders.append(holder)

    monkeypatch.setattr(StateHolder, "__init__", remember)
    with served() as (address, _):
        page = Client(address)
        (holder,) = [holder for holder in holders if holder.session_data]
        page.leave()
        for _ in range(1000):
            if not holder.session_data:
                break
            time.sleep(0.02)
        assert list(holder.session_data) == []
