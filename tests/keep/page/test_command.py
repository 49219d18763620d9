"""``latentedit app``: rejected options, and a server that leaves no files."""

import os
import signal
import stat
import subprocess
import sys
import urllib.request
from pathlib import Path
from subprocess import PIPE

import pytest

from latentedit.cli.page import PASSWORD, read_password
from latentedit.core.errors import ConfigError
from latentedit.page.address import is_loopback
from tests.keep.page.servers import free_port


@pytest.fixture(autouse=True)
def without_password(environment: dict[str, str]) -> None:
    environment.pop(PASSWORD, None)


def test_a_missing_gradio_is_reported_with_its_installation() -> None:
    code = (
        "import sys\nsys.modules['gradio'], sys.argv[1:] = None, ['app']\nfrom latentedit.cli.main import main\nmain()"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ended.returncode, "[app]" in ended.stderr) == (2, True)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.3.4.5", "::1", "[::1]", "localhost", "LOCALHOST"])
def test_loopback_addresses_are_recognized(host: str) -> None:
    assert is_loopback(host)


def test_the_password_comes_from_a_file_or_the_environment(tmp_path: Path, environment: dict[str, str]) -> None:
    assert read_password(None) == ""
    environment[PASSWORD] = "a password"
    assert read_password(None) == "a password"
    file = tmp_path / "password.txt"
    file.write_text(" a b \r\nsecond line\n")
    assert read_password(file) == " a b "
    file.write_text("\nsecond line\n")
    with pytest.raises(ConfigError):
        read_password(file)
    file.write_bytes(b"\xff\xfe")
    for place in (file, tmp_path / "none", tmp_path):
        with pytest.raises(ConfigError):
            read_password(place)


@pytest.mark.nightly
def test_the_server_ends_on_ctrl_c_and_leaves_no_files(miniature: Path, tmp_path: Path) -> None:
    arguments = [sys.executable, "-m", "latentedit.cli.main", "app", "--model", miniature, "--port", str(free_port())]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(arguments, stdout=PIPE, stderr=PIPE, text=True, env=environment) as server:
        try:
            assert server.stdout is not None
            _loading, report = server.stdout.readline(), server.stdout.readline()
            address = f"http://127.0.0.1:{arguments[-1]}/"
            assert report == f"serving at {address} (stop with Ctrl-C)\n", server.communicate()
            folders = list(tmp_path.glob("latentedit-app-*"))
            assert len(folders) == 1
            assert all(stat.S_IMODE(folder.stat().st_mode) == 0o700 for folder in folders)
            with urllib.request.urlopen(address) as answer:
                assert answer.status == 200
            server.send_signal(signal.SIGINT)
            _, complaints = server.communicate(timeout=60)
        finally:
            server.kill()
    assert server.returncode == 130
    assert complaints == "latentedit: interrupted\n"
    assert [path.name for path in tmp_path.iterdir() if "latentedit" in path.name or "gradio" in path.name] == []
