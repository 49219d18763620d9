"""``python -m training NAME``: train a bundled model; stop it and run it again to go on."""

import argparse
import sys
from pathlib import Path

from latentedit.core.errors import LatentEditError
from latentedit.core.process import keep_freed_memory
from latentedit.models.placement import existing_device
from latentedit_keep.console import complain, echo, progress_bar
from training.loop import Training
from training.recipes import PLANS, make


def main(arguments: list[str] | None = None) -> int:
    """Train the model that is named, and say where it lies.

    Returns:
        The exit code.
    """
    recipes = "\n".join(f"  {name:<18}{plan.made}" for name, plan in PLANS.items())
    parser = argparse.ArgumentParser(
        prog="python -m training",
        description="Train a bundled model; stop it and run it again to go on. On a CPU it takes hours.",
        epilog=f"recipes:\n{recipes}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", choices=[*PLANS], metavar="NAME", nargs="?", help="of the model")
    parser.add_argument(
        "--out", type=Path, help="for renders, checkpoints and the model; out/training/NAME if not given"
    )
    parser.add_argument("--device", help="cpu, cuda or mps; chosen by itself if not given")
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")
    given = parser.parse_args(arguments)
    if given.name is None:
        parser.print_help()
        return 0
    keep_freed_memory()
    tell = (lambda _: None) if given.quiet else echo
    tell(PLANS[given.name].made)
    try:
        with progress_bar(quiet=given.quiet) as progress:
            run = Training(
                folder=given.out or Path("out/training") / given.name,
                device=existing_device(given.device),
                progress=progress,
                log=tell,
            )
            tell(f"model  {make(given.name, run)}")
    except LatentEditError as error:
        complain(str(error))
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
