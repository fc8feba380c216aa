"""`ttsnap download`: fetch a data set of images, checked against its published checksums."""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    from ttsnap.sft.download import SOURCES

    parser.add_argument("name", choices=SOURCES, help="which data set")
    parser.add_argument("--out", required=True, help="folder for its files")
    parser.add_argument("--from", dest="address", help="another address, ending in /")


def run(args: argparse.Namespace) -> dict:
    """Download what is missing; return the files."""
    from ttsnap.sft.download import download

    paths = download(args.name, args.out, args.address)
    print(f"{args.name}: {len(paths)} files in {args.out}, checksums right")
    return {"name": args.name, "files": [str(path) for path in paths]}
