"""Finds comments and docstrings that continue a name instead of saying something: ``python -m tools.subjects [PATHS]``.

"Of the weights." below ``fingerprint`` is no sentence: "Fingerprint of the weights." is one. The first word decides.
"""

import ast
import io
import re
import subprocess
import sys
import tokenize
from pathlib import Path

CONTINUES = re.compile(r"(?:of|that|those|what|with|by|as)\b", re.IGNORECASE)


def continuations(source: str) -> list[tuple[int, str]]:
    """Lines and texts of the comments and docstrings whose first word continues a name."""
    texts, before = list[tuple[int, str]](), -1
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            alone = token.line.lstrip().startswith("#")
            if not (alone and before == token.start[0] - 1):  # otherwise a line of a longer comment
                texts.append((token.start[0], token.string.lstrip("# ")))
            before = token.start[0] if alone else -1
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Module)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, kinds) and (about := ast.get_docstring(node)):
            texts.append((node.body[0].lineno, about.partition("\n")[0]))
    return sorted(one for one in texts if CONTINUES.match(one[1]))


def main(paths: list[str]) -> int:
    """Print every place; 1 if there is one."""
    listed = subprocess.check_output(["git", "ls-files", "--", *(paths or ["*.py"])], text=True).splitlines()
    found = [
        f"{path}:{line}: {text}"
        for path in listed
        if path.endswith(".py")
        for line, text in continuations(Path(path).read_text(encoding="utf-8"))
    ]
    for one in found:
        print(one)
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
