"""``python -m latentedit``: the program."""

from latentedit.cli.main import main

if __name__ == "__main__":
    main()
