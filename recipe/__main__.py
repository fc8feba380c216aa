"""`python -m recipe train-shapes PART`: the recipe's one command, with the options and the errors of ttsnap's."""

import sys
from collections.abc import Sequence

from ttsnap import cli


def main(argv: Sequence[str]) -> int:
    """Run the command; returns the exit status."""
    return cli.main(argv, {"train-shapes": "train one of the embedded models of the shapes world again"}, "recipe")


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
