"""``latentedit app``: a missing package, and a server that leaves no files."""

import os
import signal
import stat
import subprocess
import sys
import urllib.request
from pathlib import Path
from subprocess import PIPE

import pytest

from tests.page.servers import free_port


def test_a_missing_gradio_is_reported_with_its_installation() -> None:
    code = (
        "import sys\nsys.modules['gradio'], sys.argv[1:] = None, ['app']\nfrom latentedit.cli.main import main\nmain()"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ended.returncode, "[app]" in ended.stderr) == (2, True)


def test_the_page_says_why_it_has_no_tab_edit_where_models_are_installed_in_part() -> None:
    code = """
import sys

sys.modules["gradio"] = None
sys.modules["latentedit.cli.options"] = None
sys.argv[1:] = ["app"]
from latentedit.cli.main import main

main()
"""
    command = [sys.executable, "-c", code]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "no tab Edit" in ended.stderr
    assert "[models]" in ended.stderr
    assert "[app]" in ended.stderr, "the page itself is not refused"


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
