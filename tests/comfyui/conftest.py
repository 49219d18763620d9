"""Tests on ComfyUI's own modules run where these can be imported, which `make comfy` provides."""

import importlib.util

collect_ignore = ["portrait_nodes.py"]  # a file of a server
if importlib.util.find_spec("comfy") is None:
    collect_ignore += ["test_guider.py", "test_server.py", "test_text_nodes.py"]
