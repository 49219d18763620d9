"""The entry point of the program ``latentedit``. Its imports take a third of a second, and Ctrl-C ends them quietly."""

import importlib
import sys


def main() -> None:
    """Run the program, which is imported here."""
    try:
        importlib.import_module("latentedit.cli.program").main()
    except KeyboardInterrupt:
        sys.stderr.write("latentedit: interrupted\n")
        sys.exit(130)


if __name__ == "__main__":
    main()
