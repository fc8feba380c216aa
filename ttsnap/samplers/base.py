"""What all model families share: noise, the solver's update, and decoding."""

import contextlib
from collections.abc import Iterator, Sequence

import torch
from diffusers import AutoencoderTiny

from ttsnap.errors import BadInput, TtsnapError, warn_cut
from ttsnap.models.weights import quiet_libraries
from ttsnap.samplers import solvers
from ttsnap.samplers.look import check_look_decoder
from ttsnap.samplers.negtome import Pusher, install
from ttsnap.samplers.whole import check_open
from ttsnap.settings.negtome import NegToMe


class Sampler:
    """One text-to-image model with a fixed number of steps of one solver, size and guidance.

    Subclasses define `encode`, `join`, `init`, `step` and `_to_vae`. Latents are float32 [n, …] on the sampler's
    device; the model runs in the dtype of its weights. Only `init` is random, and no row depends on the others:
    candidates are dropped by indexing the latents. Gradients flow through `step` and `decode` unless the caller turns
    them off; the weights are frozen.
    """

    family = ""
    pipeline_class: type
    denoiser_class: type
    denoiser_name = ""
    patch = 1  # side of a token, in latents
    text_tokens: int  # tokens of a prompt that the denoiser attends to
    pusher: Pusher | None = None  # NegToMe, see push_apart
    version = ""  # of the weights and configs, where they come from files
    look_decoder: AutoencoderTiny | None = None  # see look_with
    look_described: dict | None = None  # its name, and its version where it comes from files

    def __init__(
        self,
        pipe,
        *,
        steps: int,
        guidance: float,
        height: int,
        width: int,
        name: str,
        solver: str | None = None,
        karras: bool | None = None,
    ):
        """Wrap a diffusers pipeline. `height`, `width` in pixels; `name` is for `describe`.

        solver, karras: as in the config; None: as the pipeline's scheduler.
        """
        self.pipe, self.name = pipe, name
        self.check_parts()
        self.denoiser, self.vae = getattr(pipe, self.denoiser_name), pipe.vae
        self.guidance, self.height, self.width = float(guidance), height, width
        check_size(height, width, self.patch * pipe.vae_scale_factor)
        self.solver = solvers.pick_solver(solver, pipe.scheduler, self.family, name)
        own = solvers.own_solver(pipe.scheduler)
        self.asked = {"solver": solver if own else self.solver, "karras": karras}
        self.scheduler = self._scheduler(steps, solvers.spacing(self.solver, karras))
        self.timesteps = self.scheduler.timesteps
        self.steps = len(self.timesteps)
        if self.steps != steps:
            raise BadInput(
                f"steps: {self.name} makes {self.steps} steps when asked for {steps}; choose another number of steps"
            )
        self._set_levels()
        if self.sigmas[self.steps] != 0:
            raise BadInput(
                f"{self.name}: scheduler: ends with noise left (σ = {self.sigmas[self.steps]:.3g}), not with an image"
            )

    def _set_levels(self) -> None:
        """Read the noise levels off the scheduler."""
        if self.solver == "ddim":
            self.sigmas, self.reached = solvers.ddim_levels(self.scheduler)
        else:
            self.sigmas = self.scheduler.sigmas.float().cpu()
        self.lambdas = solvers.log_snr(self.sigmas, flow=self.family == "flux")
        if self.solver == "dpmpp_2m" and not (self.sigmas.diff() < 0).all():
            raise BadInput(f"steps: {self.steps} are more than {self.name}'s noise levels; choose fewer")

    def check_parts(self) -> None:
        """Raise BadInput where a part of the pipeline is missing, or needs another way of sampling."""
        check_open(self.name, self.family, self.pipe)

    @property
    def device(self) -> torch.device:
        """Where the latents live and the model computes, even when it is offloaded."""
        return self.pipe._execution_device

    def variant(
        self, *, steps: int, guidance: float | None = None, solver: str | None = None, karras: bool | None = None
    ) -> "Sampler":
        """A sampler in other steps on the same open pipeline and look decoder; None: as in this one.

        It has its own noise levels and conditions: encode prompts with it. Raises BadInput as opening it would.
        """
        given = {"solver": solver, "karras": karras}
        how = {key: self.asked[key] if value is None else value for key, value in given.items()}
        how["guidance"] = self.guidance if guidance is None else guidance
        size = {"height": self.height, "width": self.width}
        other = type(self)(self.pipe, steps=steps, **how, **size, name=self.name)
        if self.pusher and self.family == "sdxl" and (other.guidance > 1) != (self.guidance > 1):
            raise BadInput("guidance: with NegToMe a variant cannot turn it on or off; open the model again instead")
        other.version, other.pusher = self.version, self.pusher
        other.look_decoder, other.look_described = self.look_decoder, self.look_described
        return other

    def push_apart(self, settings: NegToMe) -> None:
        """Turn NegToMe on for good: every call of `step` is then one group, with its first row as reference."""
        self.pusher = install(self.denoiser, settings, self.family, self.guidance > 1)

    def look_with(self, decoder: AutoencoderTiny, name: str, version: str = "") -> None:
        """Let `look` decode with this. name, version: for `describe`. Raises BadInput for latents of another model."""
        check_look_decoder(decoder, self.pipe, name)
        self.look_decoder = decoder
        self.look_described = {"name": name, **({"version": version} if version else {})}

    def encode(self, prompt: str):
        """The condition of one prompt, for `step`. A prompt that is too long is cut, with a warning."""
        raise NotImplementedError

    def join(self, conditions: Sequence):
        """The conditions of n prompts as one, for n rows of latents."""
        raise NotImplementedError

    def init(self, seeds: Sequence[int]) -> torch.Tensor:
        """The first latents [n, …]: row i is a function of seeds[i] alone."""
        raise NotImplementedError

    def step(
        self, s: int, latents: torch.Tensor, condition, previous: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Denoiser evaluation s+1 of `steps`: (latents of step s+1, Tweedie latents x̂0 of step s).

        condition: of one prompt, or one for each row (`join`). previous: x̂0 of step s−1, which DPM-Solver++ 2M needs to
        be of second order. Both results are float32, shaped like `latents`; those of the last step are equal.
        """
        raise NotImplementedError

    def decode(self, denoised: torch.Tensor, clamp: bool = True) -> torch.Tensor:
        """Images [n, 3, H, W] in [0, 1], float32. Clamped pixels have no gradient: clamp=False."""
        config = self.vae.config
        latents = self._to_vae(denoised.float()) / config.scaling_factor
        mean, std = self._latent_statistics(latents)
        latents = latents * std + mean + (config.get("shift_factor") or 0.0)
        with upcast(self.vae):
            images = self.vae.decode(latents.to(self.vae.dtype), return_dict=False)[0].float()
        images = images / 2 + 0.5
        return images.clamp(0, 1) if clamp else images

    def look(self, denoised: torch.Tensor) -> torch.Tensor:
        """Images [n, 3, H, W] in [0, 1], float32, by the look decoder if there is one: faster, and not as exact."""
        if self.look_decoder is None:
            return self.decode(denoised)
        config = self.look_decoder.config
        # In the scale of the denoiser, which TAESD is trained on: not that of the VAE.
        latents = self._to_vae(denoised.float()) / config.scaling_factor + config.shift_factor
        images = self.look_decoder.decode(latents.to(self.look_decoder.dtype), return_dict=False)[0].float()
        return (images / 2 + 0.5).clamp(0, 1)

    def encode_image(self, images: torch.Tensor) -> torch.Tensor:
        """The VAE's mean latents, float32 [n, …], of images [n, 3, H, W] in [0, 1]; `decode` inverts it."""
        config = self.vae.config
        with upcast(self.vae):
            moments = self.vae.encode((images * 2 - 1).to(self.vae.dtype))
        latents = moments.latent_dist.mean.float() - (config.get("shift_factor") or 0.0)
        mean, std = self._latent_statistics(latents)
        return (latents - mean) / std * config.scaling_factor

    def _latent_statistics(self, latents: torch.Tensor) -> Iterator[torch.Tensor]:
        """Mean and standard deviation per channel, [1, C, 1, 1], that the VAE's config gives; 0 and 1 without any."""
        mean, std = self.vae.config.get("latents_mean"), self.vae.config.get("latents_std")
        known = mean is not None and std is not None
        return (latents.new_tensor(value).view(1, -1, 1, 1) for value in ((mean, std) if known else (0.0, 1.0)))

    def describe(self) -> dict:
        """What makes the images, for the attributes of files: plain strings and numbers."""
        return {
            "model": self.name,
            **({"model_version": self.version} if self.version else {}),
            "family": self.family,
            "scheduler": type(self.scheduler).__name__ + (", karras" if solvers.uses_karras(self.scheduler) else ""),
            **({"solver": self.solver} if self.solver != "euler" else {}),
            "prediction_type": self.scheduler.config.get("prediction_type", "flow"),
            "steps": self.steps,
            "guidance": self.guidance,
            "height": self.height,
            "width": self.width,
            "dtype": str(self.denoiser.dtype).removeprefix("torch."),
            **({"negtome": self.pusher.describe()} if self.pusher else {}),
            **({"look_decoder": self.look_described} if self.look_decoder is not None else {}),
        }

    def _scheduler(self, steps: int, changes: dict):
        """A fresh scheduler with its sigmas and timesteps set; changes: to the config of the pipeline's."""
        raise NotImplementedError

    def _to_vae(self, latents: torch.Tensor) -> torch.Tensor:
        """Latents in the VAE's layout, [n, C, h, w]."""
        return latents

    def _noise(self, seeds: Sequence[int], channels: int) -> torch.Tensor:
        """Gaussian noise [n, channels, h, w], float32, each row from a CPU generator with its seed."""
        scale = self.pipe.vae_scale_factor
        shape = (1, channels, self.height // scale, self.width // scale)
        rows = [torch.randn(shape, generator=torch.Generator().manual_seed(s)) for s in seeds]
        return torch.cat(rows).to(self.device)

    def _advance(
        self, s: int, latents: torch.Tensor, denoised: torch.Tensor, previous: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What `step` returns, from x̂0: the update of the solver."""
        sigma, following = self.sigmas[s], self.sigmas[s + 1]
        if self.solver == "ddim":
            config = self.scheduler.config
            clip = config.clip_sample_range if config.clip_sample else None
            latents, denoised = solvers.ddim(latents, denoised, sigma, self.reached[s], following, clip)
            return latents, (denoised if s + 1 < self.steps else latents)
        towards = denoised
        if self.second_order and previous is not None and following > 0:
            towards = solvers.extrapolated(denoised, previous, *self.lambdas[s - 1 : s + 2])
        return solvers.first_order(latents, towards, sigma, following), denoised

    @property
    def second_order(self) -> bool:
        """Whether a step also reads the x̂0 of the step before."""
        return self.solver == "dpmpp_2m" and self.scheduler.config.get("solver_order") != 1


@contextlib.contextmanager
def upcast(vae) -> Iterator[None]:
    """Within the block, a VAE that overflows in float16 (`force_upcast`, as SDXL's) is float32, as in its pipeline."""
    narrow = vae.dtype == torch.float16 and vae.config.force_upcast
    try:
        if narrow:
            vae.float()
        yield
    finally:
        if narrow:
            vae.half()


def check_size(height: int, width: int, multiple: int) -> None:
    """Raise BadInput for a size in pixels that is not a whole number of latents."""
    for key, value in (("height", height), ("width", width)):
        if value < multiple or value % multiple:
            raise BadInput(f"{key}: {value} is not a multiple of {multiple} pixels")


def to_bytes(images: torch.Tensor, prompts: Sequence[str], where: str = "") -> torch.Tensor:
    """Images float [n, 3, H, W] in [0, 1] of n prompts, as uint8 of the same shape.

    Raises TtsnapError, naming the prompt and `where` they were made, for pixels that are not finite: they would become
    plain black.
    """
    broken = (~images.isfinite().flatten(1).all(1)).nonzero()
    if len(broken):
        raise TtsnapError(
            f"{where and where + ': '}the model gave pixels that are no numbers for prompt "
            f"{prompts[int(broken[0])][:60]!r}; try dtype bfloat16 or float32, or a smaller guidance"
        )
    return (images * 255).round().to(torch.uint8)


@contextlib.contextmanager
def warn_if_cut(tokenizer, limit: int, prompt: str) -> Iterator[None]:
    """Warn when the text encoder reads only a prompt's first `limit` tokens (see `warn_cut`).

    Within the block the libraries' own warnings, which repeat the whole prompt, are off.
    """
    warn_cut(prompt, len(tokenizer(prompt, verbose=False).input_ids), limit, "the model")
    with quiet_libraries():
        yield
