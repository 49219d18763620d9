"""``python -m research.training NAME``: train a bundled model, or resume an interrupted training."""

import argparse
import sys
from pathlib import Path

from latentedit import LatentEditError
from latentedit.core import complain, echo, keep_freed_memory, progress_bar
from latentedit.numerics import existing_device
from research.training.loop import Trainer
from research.training.recipes import PLANS, train_model


def main(arguments: list[str] | None = None) -> int:
    """Train a model and print its folder; returns the exit code."""
    recipes = "\n".join(f"  {name:<18}{plan.provenance}" for name, plan in PLANS.items())
    parser = argparse.ArgumentParser(
        prog="python -m research.training",
        description="Train a bundled model. Run the same command again to resume. On a CPU it takes hours.",
        epilog=f"recipes:\n{recipes}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", choices=[*PLANS], metavar="NAME", nargs="?", help="name of the model")
    parser.add_argument(
        "--out", type=Path, help="folder for renders, checkpoints and the model (default: out/training/NAME)"
    )
    parser.add_argument("--device", help="cpu, cuda or mps (default: automatic)")
    parser.add_argument("--quiet", action="store_true", help="print errors only")
    given = parser.parse_args(arguments)
    if given.name is None:
        parser.print_help()
        return 0
    keep_freed_memory()
    log = (lambda _: None) if given.quiet else echo
    log(PLANS[given.name].provenance)
    try:
        with progress_bar(quiet=given.quiet) as progress:
            trainer = Trainer(
                folder=given.out or Path("out/training") / given.name,
                device=existing_device(given.device),
                progress=progress,
                log=log,
            )
            log(f"model  {train_model(given.name, trainer)}")
    except LatentEditError as error:
        complain(str(error))
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
