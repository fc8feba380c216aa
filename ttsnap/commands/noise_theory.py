"""`ttsnap noise-theory`: whether a fixed orthogonal map leaves Gaussian noise Gaussian."""

from typing import Annotated, ClassVar

from pydantic import Field

from ttsnap.commands.options import Command, Filled, OutFolder
from ttsnap.errors import BadInput, TtsnapError
from ttsnap.settings.section import Positive, Seed
from ttsnap.storage.files import write_json

MOST_NUMBERS = 100_000_000  # in memory at once


class NoiseTheoryOptions(Command):
    """The patches, their number, and how far to rotate them."""

    fills: ClassVar = Filled(("cayley.json",))

    channels: Positive = Field(4, description="channels C of the latents")
    patch_size: Positive = Field(2, description="side p of a patch, in latents")
    samples: Positive = Field(65536, description="patches to draw")
    scale: Annotated[float, Field(ge=0)] = Field(1.0, description="spread of the entries of A")
    out: OutFolder = Field(description="folder for the figures and JSON files")
    seed: Seed = Field(0, description="seed of Q and of the noise")


def run(options: NoiseTheoryOptions) -> dict:
    """Draw ε and a random Q for each map, compare ε and Qε; return the comparisons.

    Raises TtsnapError when Qε is no longer N(0, I).
    """
    size = options.channels * options.patch_size**2
    if options.samples < 2 * size:
        raise BadInput(f"--samples: {options.samples} is too few for {size} dimensions")
    if options.samples * size > MOST_NUMBERS or size**2 > MOST_NUMBERS:
        raise BadInput(
            f"--samples: {options.samples} of {size} dimensions are more than {MOST_NUMBERS:,} numbers; give fewer"
        )
    from ttsnap.noise.theory import agrees, rotated_samples
    from ttsnap.report.diagnostics import write

    results = {"channels": options.channels, "patch_size": options.patch_size, "maps": {}}
    for name, eps, z, q in rotated_samples(options.samples, size, options.scale, options.seed):
        found = write(options.out, name, eps, z, 1, q)
        found["agrees"] = agrees(found)
        results["maps"][name] = found
        print(
            f"{name}: {'agrees' if found['agrees'] else 'DOES NOT AGREE'} with N(0, I): "
            f"mean {found['after']['mean']:+.4f}, variance {found['after']['variance']:.4f}, "
            f"‖QᵀQ−I‖ {found['orthogonality_error']:.1e}"
        )
    results["agrees"] = all(found["agrees"] for found in results["maps"].values())
    if not results["agrees"]:
        if options.json_file:
            write_json(options.json_file, results)
        raise TtsnapError("a map does not leave Gaussian noise Gaussian; the figures show where")
    return results
