"""Runs the Python blocks of one page, in one namespace; `tools.running` starts it in the page's scratch folder.

Every line that comes in is a JSON object with ``code``, ``page`` and ``number`` (of its first line in the page); the
answer is a line with ``output`` and ``error``, which is null where there was none.
"""

import contextlib
import io
import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any


def main() -> None:
    """Answer until nothing comes in any more."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries write by themselves is no answer
    sys.path[:1] = [str(Path.cwd()), str(Path(__file__).resolve().parents[1])]
    scope: dict[str, Any] = {"__name__": "__main__"}
    for line in sys.stdin:
        print(json.dumps(_run(json.loads(line), scope)), file=answers, flush=True)


def _run(block: dict[str, Any], scope: dict[str, Any]) -> dict[str, str | None]:
    printed = io.StringIO()
    try:
        code = compile("\n" * (block["number"] - 1) + block["code"], block["page"], "exec")
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            exec(code, scope)
    except (Exception, SystemExit):  # noqa: BLE001 - whatever a block raises is told
        return {"output": printed.getvalue(), "error": traceback.format_exc(limit=-3)}
    return {"output": printed.getvalue(), "error": None}


if __name__ == "__main__":
    main()
