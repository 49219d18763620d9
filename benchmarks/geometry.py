"""The claims on geometry, each by its plan, on a model that the plans do not name.

    python benchmarks/geometry.py [--model scenes] [--experiment geometry-spectrum] [--quick]

Records go to results/geometry/MODEL. Left out are the claims that compare several models. What was stopped goes on.
"""

import argparse
import os
from pathlib import Path

from results import RESULTS, command

from latentedit.core.plugins import EXPERIMENTS
from latentedit_bench.experiments.geometry import PREFIX, Geometry
from latentedit_bench.experiments.run import reproduce
from latentedit_keep.console import progress_bar


def main() -> None:
    """Run them, and write their records."""
    kinds: dict[str, type[Geometry]] = {
        name: EXPERIMENTS.load(name) for name in EXPERIMENTS.names() if name.startswith(PREFIX)
    }
    alone = {name: kind for name, kind in kinds.items() if kind.fewest_models == 1}
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--model", default="scenes", help="a bundled name, or a folder")
    options.add_argument("--experiment", action="append", choices=alone, help="repeatable; all by default")
    options.add_argument("--quick", action="store_true", help="by the smaller plans")
    chosen = options.parse_args()
    os.chdir(RESULTS.parent)
    asked = [alone[name](models=(chosen.model,)) for name in chosen.experiment or alone]
    with progress_bar() as progress:
        place = RESULTS / "geometry" / Path(chosen.model).name
        reproduce(asked, place, command=command(), quick=chosen.quick, progress=progress)


if __name__ == "__main__":
    main()
