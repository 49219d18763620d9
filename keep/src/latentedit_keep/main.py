"""The program ``latentedit``: the library's if that is installed, else the one of this package alone."""

import importlib
import importlib.util
import sys


def main() -> None:
    """Run it. Its imports take a third of a second, in which Ctrl-C ends it as quietly as later."""
    home = "latentedit_keep.base.program" if importlib.util.find_spec("latentedit") is None else "latentedit.cli.main"
    try:
        importlib.import_module(home).main()
    except KeyboardInterrupt:
        sys.stderr.write("latentedit: interrupted\n")
        sys.exit(130)


if __name__ == "__main__":
    main()
