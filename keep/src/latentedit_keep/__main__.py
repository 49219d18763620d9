"""``python -m latentedit_keep``: the program."""

from latentedit_keep.main import main

if __name__ == "__main__":
    main()
