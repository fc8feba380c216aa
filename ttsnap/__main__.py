"""`python -m ttsnap` is the same as `ttsnap`."""

from ttsnap.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
