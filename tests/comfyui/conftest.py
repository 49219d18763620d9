"""Tests on ComfyUI's own modules run where these can be imported, which `make comfy` provides."""

import importlib.util

collect_ignore = [] if importlib.util.find_spec("comfy") else ["test_guider.py", "test_text_nodes.py"]
