"""The reward tensor R[prompt, candidate, step] of one reward, and its HDF5 file (DESIGN §5).

The file is plain HDF5 with dimension scales `prompt`, `candidate` and `step`, so that
`xarray.open_dataset(path, engine="h5netcdf")` shows named dimensions. Rebuilding gives the same bytes.
"""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path

import h5py
import numpy as np

from ttsnap.errors import BadInput, reads
from ttsnap.files import replacing

SCHEMA = "ttsnap reward tensor"
SCHEMA_VERSION = 1
DIMENSIONS = ("prompt", "candidate", "step")
REWARDS = ("base", "noise_aware")


@dataclass
class RewardTensor:
    """Rewards of P prompts × C candidates × S steps.

    base         float32 [P, C, S], the reward as published; all NaN at a step that was not read,
                 never at the last step (the final image)
    noise_aware  float32 [P, C, S], the finetuned reward; all NaN at a step that is not a level;
                 None where there is no noise-aware reward at all
    accepted     uint8 [P, C, S], an objective checker's verdict on each image, or None
    prompts      the P prompts, numbered if not given
    candidates   int [C], candidate ids, 0..C-1 if not given
    attrs        model, scheduler, reward, seed, levels, denoise_tflop and look_tflop (TFLOP of one
                 denoiser evaluation and of one look), versions of the reward models, …
    """

    base: np.ndarray
    noise_aware: np.ndarray | None = None
    accepted: np.ndarray | None = None
    prompts: list[str] = field(default_factory=list)
    candidates: np.ndarray | None = None
    attrs: dict = field(default_factory=dict)

    def __post_init__(self):
        self.base = np.asarray(self.base, np.float32)
        if self.noise_aware is not None:
            self.noise_aware = np.asarray(self.noise_aware, np.float32)
        if self.accepted is not None:
            self.accepted = np.asarray(self.accepted, np.uint8)
        prompts, candidates = (*self.base.shape, 0, 0)[:2]
        if not len(self.prompts):
            self.prompts = [f"prompt {index}" for index in range(prompts)]
        if self.candidates is None:
            self.candidates = np.arange(candidates)
        self.candidates = np.asarray(self.candidates, np.int64)

    @property
    def steps(self) -> np.ndarray:
        """int [S]: the step indices 0..S-1."""
        return np.arange(self.base.shape[2])

    @property
    def base_steps(self) -> list[int]:
        """Steps at which the base reward was read."""
        return _steps_read(self.base)

    @property
    def levels(self) -> list[int]:
        """Steps at which there is a noise-aware reward."""
        return [] if self.noise_aware is None else _steps_read(self.noise_aware)

    def select(self, prompts: slice) -> "RewardTensor":
        """The tensor of some of its prompts."""
        parts = {
            name: None if (values := getattr(self, name)) is None else values[prompts]
            for name in (*REWARDS, "accepted")
        }
        return replace(self, **parts, prompts=self.prompts[prompts])


def check_tensor(tensor: RewardTensor, where: str | Path) -> None:
    """Raise `BadInput`, one line that begins with `where`, if the tensor breaks its own rules."""
    shape = tensor.base.shape
    if len(shape) != 3 or 0 in shape:
        raise BadInput(f"{where}: base has shape {shape}, not prompts × candidates × steps")
    for name in (*REWARDS, "accepted"):
        values = getattr(tensor, name)
        if values is not None and values.shape != shape:
            raise BadInput(f"{where}: {name} has shape {values.shape}, base has {shape}")
    for name, count in (("prompts", shape[0]), ("candidates", shape[1])):
        if len(getattr(tensor, name)) != count:
            raise BadInput(f"{where}: {len(getattr(tensor, name))} {name} for {count} in base")
    for name in REWARDS:
        if getattr(tensor, name) is not None:
            _check_finite(getattr(tensor, name), name, where)
    if np.isnan(tensor.base[:, :, -1]).any():
        raise BadInput(f"{where}: base has no value at the last step; score the final images")


def write_tensor(path: str | Path, tensor: RewardTensor) -> None:
    """Write the tensor to `path`, whole or not at all; equal tensors give equal bytes.

    Raises `BadInput` for a tensor with wrong shapes or NaN within a step that was read.
    """
    check_tensor(tensor, path)
    text = h5py.string_dtype("utf-8")
    with replacing(path) as temporary, h5py.File(temporary, "w", libver="latest") as file:
        file.create_dataset("prompt", data=np.array(tensor.prompts, object), dtype=text)
        file["candidate"] = tensor.candidates
        file["step"] = tensor.steps
        for name in DIMENSIONS:
            file[name].make_scale(name)
        for name in (*REWARDS, "accepted"):
            if (values := getattr(tensor, name)) is None:
                continue
            file[name] = values
            for axis, dimension in enumerate(DIMENSIONS):
                file[name].dims[axis].attach_scale(file[dimension])
        marks = {"schema": SCHEMA, "schema_version": SCHEMA_VERSION, "levels": tensor.levels}
        for key, value in sorted({**tensor.attrs, **marks}.items()):
            if value is not None:
                file.attrs[key] = json.dumps(value, sort_keys=True) if _nested(value) else value


@reads("a whole reward tensor", "build it again with `ttsnap tensor` or `ttsnap import-values`")
def read_tensor(path: str | Path) -> RewardTensor:
    """Read a reward tensor.

    Raises `BadInput`, one line naming the file and what to do, for a missing, truncated or foreign
    file, another schema version, wrong shapes, and NaN (which names the prompt).
    """
    if not Path(path).is_file():
        raise BadInput(f"{path}: no such file; build it with `ttsnap tensor` or `import-values`")
    try:
        with h5py.File(path, "r") as file:
            tensor = _parse(file, path)
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        raise BadInput(
            f"{path}: not a whole reward tensor ({str(error)[:200]}); "
            "build it again with `ttsnap tensor` or `ttsnap import-values`"
        ) from None
    check_tensor(tensor, path)
    return tensor


def _parse(file: h5py.File, path: str | Path) -> RewardTensor:
    if file.attrs.get("schema") != SCHEMA:
        raise BadInput(f"{path}: an HDF5 file, but not a reward tensor; give one that ttsnap wrote")
    if file.attrs["schema_version"] != SCHEMA_VERSION:
        raise BadInput(
            f"{path}: schema version {file.attrs['schema_version']}, this ttsnap reads "
            f"{SCHEMA_VERSION}; build the tensor again"
        )
    steps = file["step"][()]
    if not np.array_equal(steps, np.arange(file["base"].shape[-1])):
        raise BadInput(f"{path}: its steps are {steps.tolist()}, not 0..S-1; build it again")
    return RewardTensor(
        **{name: file[name][()] if name in file else None for name in (*REWARDS, "accepted")},
        prompts=list(file["prompt"].asstr()[()]),
        candidates=file["candidate"][()],
        attrs={key: _native(value) for key, value in file.attrs.items()},
    )


def _steps_read(values: np.ndarray) -> list[int]:
    return np.flatnonzero(~np.isnan(values[0, 0])).tolist()


def _check_finite(values: np.ndarray, name: str, where: str | Path) -> None:
    """A step is read for every candidate or for none."""
    bad = ~np.isfinite(values)
    bad[:, :, np.isnan(values).all((0, 1))] = False
    if bad.any():
        prompt, candidate, step = np.argwhere(bad)[0].tolist()
        raise BadInput(
            f"{where}: {name} is {values[prompt, candidate, step]} at prompt {prompt}, "
            f"candidate {candidate}, step {step}; score that prompt again or leave it out"
        )


def _nested(value: object) -> bool:
    return isinstance(value, dict)


def _native(value: object) -> object:
    """An HDF5 attribute as a plain Python value."""
    if isinstance(value, str) and value.startswith("{"):
        return json.loads(value)
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value
