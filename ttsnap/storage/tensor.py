"""The reward tensor R[prompt, candidate, look] of one reward, and its HDF5 file.

The file is plain HDF5 with dimension scales `prompt`, `candidate` and `step`, so that
`xarray.open_dataset(path, engine="h5netcdf")` shows named dimensions. Drafts have variables of their own, with the
dimension `draft` in place of `step`. Rebuilding gives the same bytes.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import h5py
import numpy as np

from ttsnap.errors import BadInput, reads
from ttsnap.pruning.schedule import Look, look_name
from ttsnap.pruning.units import Units
from ttsnap.storage.files import replacing
from ttsnap.storage.image_shards import open_hdf5
from ttsnap.storage.provenance import check_same, images_record

TENSOR_SCHEMA, SCHEMA_VERSION = "ttsnap reward tensor", 2
DIMENSIONS = ("prompt", "candidate", "step")
REWARDS = ("base", "noise_aware")
VALUES = (*REWARDS, "accepted")
OF_DRAFTS = "draft_"  # begins the names of the variables of drafts


@dataclass
class RewardTensor:
    """Rewards of P prompts × C candidates × L looks: D drafts, then S steps.

    base           float32 [P, C, L], the reward as published; all NaN at a look that was not read, which the
                   last step (the final image) always is
    noise_aware    float32 [P, C, L], the finetuned reward, all NaN at a look that is not a level; or None
    accepted       uint8 [P, C, S], an objective checker's verdict on the image of each step; or None
    prompts        the P prompts, by default numbered
    candidates     int [C], candidate ids, by default 0..C-1
    attrs          model, scheduler, reward, seed, levels, denoise_tflop and look_tflop (TFLOP of one denoiser
                   evaluation and of one look), versions of the reward models, the reward's `units`, …
    image_digests  of each prompt's images; [] when unknown
    drafts         the names of the D drafts; attrs["drafts"] says what each is and costs
    """

    base: np.ndarray
    noise_aware: np.ndarray | None = None
    accepted: np.ndarray | None = None
    prompts: list[str] = field(default_factory=list)
    candidates: np.ndarray | None = None
    attrs: dict = field(default_factory=dict)
    image_digests: list[str] = field(default_factory=list)
    drafts: list[str] = field(default_factory=list)

    def __post_init__(self):
        for name, values in self.values().items():
            setattr(self, name, np.asarray(values, np.uint8 if name == "accepted" else np.float32))
        prompts, candidates = (*self.base.shape, 0, 0)[:2]
        if not len(self.prompts):
            self.prompts = [f"prompt {index}" for index in range(prompts)]
        self.candidates = np.asarray(np.arange(candidates) if self.candidates is None else self.candidates, np.int64)

    def values(self) -> dict[str, np.ndarray]:
        """Its arrays by name."""
        return {name: values for name in VALUES if (values := getattr(self, name)) is not None}

    @property
    def steps(self) -> np.ndarray:
        """int [S]: the step indices 0..S-1."""
        return np.arange(self.base.shape[2] - len(self.drafts))

    @property
    def looks(self) -> list[Look]:
        """The L looks, the last of which is at the final image."""
        return [*self.drafts, *self.steps.tolist()]

    @property
    def read(self) -> list[Look]:
        """Looks at which the base reward was read."""
        return self._known(self.base)

    @property
    def levels(self) -> list[Look]:
        """Looks with a noise-aware reward."""
        return [] if self.noise_aware is None else self._known(self.noise_aware)

    def places(self, looks: Iterable[Look]) -> list[int]:
        """Where the values of some looks stand in `base` and `noise_aware`."""
        place = {look: at for at, look in enumerate(self.looks)}
        return [place[look] for look in looks]

    def _known(self, values: np.ndarray) -> list[Look]:
        return [self.looks[at] for at in np.flatnonzero(~np.isnan(values[0, 0]))]

    @property
    def reward(self) -> str:
        """The reward's name."""
        return str(self.attrs.get("reward", "reward"))

    @property
    def units(self) -> Units:
        """The units in which its values are reported."""
        return Units.from_json(self.attrs.get("units"), self.reward)

    def digest(self) -> str:
        """16 hex digits of all that the tensor holds."""
        about = [self.prompts, self.candidates.tolist(), self.attrs, self.image_digests]
        about += [self.drafts] if self.drafts else []
        found = hashlib.sha256(json.dumps(about, sort_keys=True, default=str).encode())
        for name, values in self.values().items():
            found.update(name.encode() + values.tobytes())
        return found.hexdigest()[:16]

    def select(self, prompts: slice) -> "RewardTensor":
        """The tensor of some of its prompts."""
        parts = {name: values[prompts] for name, values in self.values().items()}
        lists = {name: getattr(self, name)[prompts] for name in ("prompts", "image_digests")}
        return replace(self, **parts, **lists)


def sources(tensors: Iterable[RewardTensor]) -> list[dict]:
    """Reward and digest of each tensor, to record with a result."""
    return [{"reward": tensor.reward, "tensor": tensor.digest()} for tensor in tensors]


def check_tensors(tensors: Sequence[RewardTensor]) -> None:
    """Raise BadInput unless the rewards were read from the same images and have different names."""
    first = tensors[0]
    for other in tensors[1:]:
        if other.base.shape != first.base.shape or other.prompts != first.prompts or other.drafts != first.drafts:
            raise BadInput(f"tensors: {names(tensors)} are not of the same prompts, candidates and looks")
        mine, where = f"tensor of {other.reward}", f"tensor of {first.reward}"
        again = "score the same images with both"
        check_same(mine, images_record(other.attrs), where, images_record(first.attrs), again, known=True)
        if first.image_digests and other.image_digests and first.image_digests != other.image_digests:
            raise BadInput(f"{mine}: read from other images than {where}; {again}")
    if len(set(names(tensors))) < len(tensors):
        raise BadInput(f"tensors: two of them have the same reward name in {names(tensors)}")


def names(tensors: Sequence[RewardTensor]) -> list[str]:
    """The reward of each tensor."""
    return [tensor.reward for tensor in tensors]


def check_tensor(tensor: RewardTensor, where: str | Path) -> None:
    """Raise BadInput, a line beginning with `where`, for wrong shapes and for values that are missing or not finite."""
    shape = tensor.base.shape
    if len(shape) != 3 or 0 in shape:
        raise BadInput(f"{where}: base has shape {shape}, not prompts × candidates × steps")
    if len(tensor.drafts) >= shape[2]:
        raise BadInput(f"{where}: {len(tensor.drafts)} drafts in {shape[2]} looks leave no step")
    for name, values in tensor.values().items():
        wanted = (*shape[:2], len(tensor.steps)) if name == "accepted" else shape
        if values.shape != wanted:
            raise BadInput(f"{where}: {name} has shape {values.shape}, base has {shape}")
    for name, found, count in (("prompts", tensor.prompts, shape[0]), ("candidates", tensor.candidates, shape[1])):
        if len(found) != count:
            raise BadInput(f"{where}: {len(found)} {name} for {count} in base")
    if len(tensor.image_digests) not in (0, shape[0]):
        raise BadInput(f"{where}: {len(tensor.image_digests)} image digests for {shape[0]} prompts")
    for name, values in tensor.values().items():
        if name != "accepted":
            _check_finite(values, tensor.looks, name, where)
    if np.isnan(tensor.base[:, :, -1]).any():
        raise BadInput(f"{where}: base has no value at the last step; score the final images")


def write_tensor(path: str | Path, tensor: RewardTensor) -> None:
    """Write the tensor to `path`, whole or not at all; equal tensors give equal bytes.

    Raises BadInput as `check_tensor`.
    """
    check_tensor(tensor, path)
    text = h5py.string_dtype("utf-8")
    with replacing(path) as temporary, h5py.File(temporary, "w", libver="latest") as file:
        file.create_dataset("prompt", data=np.array(tensor.prompts, object), dtype=text)
        file["candidate"] = tensor.candidates
        file["step"] = tensor.steps
        for name in DIMENSIONS:
            file[name].make_scale(name)
        if tensor.drafts:
            file.create_dataset("draft", data=np.array(tensor.drafts, object), dtype=text)
            file["draft"].make_scale("draft")
        for name, values in _variables(tensor).items():
            file[name] = values
            looks = "draft" if name.startswith(OF_DRAFTS) else "step"
            for axis, dimension in enumerate(("prompt", "candidate", looks)):
                file[name].dims[axis].attach_scale(file[dimension])
        if tensor.image_digests:
            file["image_digest"] = np.array(tensor.image_digests, "S16")
            file["image_digest"].dims[0].attach_scale(file["prompt"])
        levels = [look for look in tensor.levels if not isinstance(look, str)]
        marks = {"schema": TENSOR_SCHEMA, "schema_version": SCHEMA_VERSION, "levels": levels}
        for key, value in sorted({**tensor.attrs, **marks}.items()):
            if value is not None:
                file.attrs[key] = json.dumps(value, sort_keys=True) if isinstance(value, dict) else value


@reads("a whole reward tensor", "build it again with `ttsnap tensor` or `ttsnap import-values`")
def read_tensor(path: str | Path) -> RewardTensor:
    """Read a reward tensor.

    Raises BadInput, naming the file and the remedy, for a missing, truncated or foreign file, another schema version,
    and as `check_tensor`.
    """
    build = "build it with `ttsnap tensor` or `ttsnap import-values`"
    with open_hdf5(path, "not a whole reward tensor", build) as file:
        if file.attrs.get("schema") != TENSOR_SCHEMA:
            raise BadInput(f"{path}: an HDF5 file, but not a reward tensor; give one that ttsnap wrote")
        version, steps = file.attrs["schema_version"], file["step"][()]
        if version != SCHEMA_VERSION:
            raise BadInput(f"{path}: schema version {version}, not {SCHEMA_VERSION}; build the tensor again")
        if not np.array_equal(steps, np.arange(file["base"].shape[-1])):
            raise BadInput(f"{path}: its steps are {steps.tolist()}, not 0..S-1; build it again")
        tensor = RewardTensor(
            **_arrays(file),
            drafts=file["draft"].asstr()[()].tolist() if "draft" in file else [],
            prompts=file["prompt"].asstr()[()].tolist(),
            candidates=file["candidate"][()],
            attrs={key: _native(value) for key, value in file.attrs.items()},
            image_digests=file["image_digest"].asstr()[()].tolist() if "image_digest" in file else [],
        )
        if len(tensor.steps) != len(steps):
            raise BadInput(f"{path}: names {len(tensor.drafts)} drafts without their values; build it again")
        _ = tensor.units  # raises ValueError or TypeError when they are malformed
    check_tensor(tensor, path)
    return tensor


def _variables(tensor: RewardTensor) -> dict[str, np.ndarray]:
    """The arrays as they stand in the file: [P, C, S] by name, and those of drafts [P, C, D]."""
    found, drafts = tensor.values(), len(tensor.drafts)
    of_steps = {name: values if name == "accepted" else values[:, :, drafts:] for name, values in found.items()}
    of_drafts = {OF_DRAFTS + name: found[name][:, :, :drafts] for name in REWARDS if name in found}
    return of_steps | (of_drafts if drafts else {})


def _arrays(file: h5py.File) -> dict[str, np.ndarray]:
    """The inverse of `_variables`."""
    found = {name: file[name][()] for name in VALUES if name in file}
    for name in REWARDS:
        if OF_DRAFTS + name in file:
            found[name] = np.concatenate([file[OF_DRAFTS + name][()], found[name]], axis=2)
    return found


def _check_finite(values: np.ndarray, looks: Sequence[Look], name: str, where: str | Path) -> None:
    """A look must be read for every candidate or for none."""
    bad = ~np.isfinite(values)
    bad[:, :, np.isnan(values).all((0, 1))] = False
    if bad.any():
        prompt, candidate, look = np.argwhere(bad)[0].tolist()
        raise BadInput(
            f"{where}: {name} is {values[prompt, candidate, look]} at prompt {prompt}, "
            f"candidate {candidate}, {look_name(looks[look])}; score that prompt again or leave it out"
        )


def _native(value: object) -> object:
    """An HDF5 attribute as a plain Python value."""
    if isinstance(value, str) and value.startswith("{"):
        return json.loads(value)
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value
