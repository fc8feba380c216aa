"""`ttsnap tensor`: join scored shards into one reward tensor (HDF5)."""

from pydantic import Field

from ttsnap.commands.options import Command, InFiles, OutFile
from ttsnap.errors import foreign_content
from ttsnap.storage.joined import join_tensor
from ttsnap.storage.tensor import write_tensor


class TensorOptions(Command):
    """The scores to join."""

    base: InFiles = Field(min_length=1, description="score files of the base reward")
    noise_aware: InFiles = Field([], description="score files of the level checkpoints")
    accepted: InFiles = Field([], description="score files of the checker")
    out: OutFile = Field(description="reward tensor (HDF5)")


def run(options: TensorOptions) -> dict:
    """Join and write; return the tensor's shape and attributes."""
    tensor = join_tensor(options.base, options.noise_aware, options.accepted)
    with foreign_content(options.base[0], "scores", "run score again"):
        write_tensor(options.out, tensor)
    return {"shape": list(tensor.base.shape), "levels": tensor.levels, **tensor.attrs}
