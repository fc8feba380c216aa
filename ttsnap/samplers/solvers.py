"""The solvers of the sampling ODE: Euler, DPM-Solver++ 2M and DDIM, each an update of the latents x.

The noise levels and timesteps are those that diffusers' schedulers set. σ is the noise in x = x0 + σ·noise, or for flow
matching in x = (1 − σ)·x0 + σ·noise; in either scale every update is `first_order` towards some estimate of x0.
"""

import warnings
from typing import get_args

import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, EulerDiscreteScheduler

from ttsnap.errors import BadInput, Notice
from ttsnap.models.checks import FLOW_SCHEDULER
from ttsnap.settings.model import Solver

SOLVERS = get_args(Solver)
SCHEDULERS = {"euler": EulerDiscreteScheduler, "dpmpp_2m": DPMSolverMultistepScheduler, "ddim": DDIMScheduler}
# The DPM-Solver that is ours. As the noise ends at 0, how its config treats the last step makes no difference.
DPMPP = {"algorithm_type": "dpmsolver++", "solver_type": "midpoint", "solver_order": 2}
MOST_SIGMA = 2.0**24  # stands for infinity: in float32, x0 no longer shows in x0 + σ·noise, nor 1/σ beside 1


def own_solver(scheduler) -> str | None:
    """The solver that a pipeline's scheduler is; None for one that we do not have."""
    name, config = type(scheduler).__name__, scheduler.config
    if name == "DPMSolverMultistepScheduler":
        options = DPMPP | ({"solver_order": 1} if config.solver_order == 1 else {})
        return "dpmpp_2m" if all(config[key] == value for key, value in options.items()) else None
    return {"DDIMScheduler": "ddim", "EulerDiscreteScheduler": "euler", FLOW_SCHEDULER: "euler"}.get(name)


def pick_solver(asked: str | None, scheduler, family: str, name: str) -> str:
    """The solver asked for, or the scheduler's own; else Euler's method, with a notice.

    Raises BadInput for a solver that the family or the scheduler does not go with.
    """
    known = [solver for solver in SOLVERS if family != "flux" or solver != "ddim"]
    if asked not in (None, *known):
        raise BadInput(f"solver: {asked} is not one of {', '.join(known)}, which {family} models take")
    solver, kind = asked or own_solver(scheduler), type(scheduler).__name__
    if solver is None:
        text = f"{name}: sampled with Euler's method in place of its {kind}; choose with solver: {', '.join(known)}"
        warnings.warn(Notice(text), stacklevel=2)
        solver = "euler"
    if isinstance(scheduler, DDIMScheduler) and scheduler.config.clip_sample and solver != "ddim":
        raise BadInput(f"solver: {solver} does not clip x̂0, as {name}'s {kind} does (clip_sample); choose ddim")
    return solver


def spacing(solver: str, karras: bool | None) -> dict:
    """The options of a scheduler that turn Karras spacing (EDM, arXiv 2206.00364, Eq. 5) on or off; None: as it is."""
    if karras and solver == "ddim":
        raise BadInput("karras: ddim has no Karras spacing; choose solver euler or dpmpp_2m, or set karras to false")
    if karras is None or solver == "ddim":
        return {}
    others = {"use_exponential_sigmas": False, "use_beta_sigmas": False} if karras else {}  # one spacing at a time
    return {"use_karras_sigmas": karras, **others}


def uses_karras(scheduler) -> bool:
    """Whether Karras spacing is on. DDIM ignores the option that another scheduler's config left in its own."""
    return bool(scheduler.config.get("use_karras_sigmas")) and not isinstance(scheduler, DDIMScheduler)


def ddim_levels(scheduler: DDIMScheduler) -> tuple[torch.Tensor, torch.Tensor]:
    """σ [steps+1] of the evaluations, with 0 for the image after them, and σ [steps] that each update reaches.

    They differ where the timesteps are not evenly spaced, as diffusers' DDIM always goes num_train_timesteps // steps
    down; and at the end, unless set_alpha_to_one. float32, at most MOST_SIGMA (zero-terminal-SNR betas).
    """
    signal, times = scheduler.alphas_cumprod.double(), scheduler.timesteps.cpu()
    if times.max() >= len(signal):
        raise BadInput(f"steps: {len(times)} start after the last of {len(signal)} timesteps; choose fewer")
    below = times - len(signal) // len(times)
    reached = torch.where(below < 0, scheduler.final_alpha_cumprod.double(), signal[below.clamp(min=0)])
    here, reached = (((1 - kept) / kept).sqrt().clamp(max=MOST_SIGMA).float() for kept in (signal[times], reached))
    return torch.cat([here, here.new_zeros(1)]), reached


def log_snr(sigmas: torch.Tensor, flow: bool) -> torch.Tensor:
    """λ = log(α/σ) of noise levels [n], float64, where α = 1 − σ with flow matching and else 1 (in x = x0 + σ·noise).

    DPM-Solver++ (arXiv 2211.01095), Section 2. −∞ where only noise is left, ∞ where none is.
    """
    sigmas = sigmas.double()
    return torch.log((1 - sigmas if flow else 1) / sigmas)


def first_order(x: torch.Tensor, denoised: torch.Tensor, sigma, reached) -> torch.Tensor:
    """Euler step of dx/dσ = (x − x̂0)/σ from σ to the σ `reached`; exactly x̂0 where that is 0.

    EDM (arXiv 2206.00364), Algorithm 2 with Euler steps and no churn.
    """
    return denoised + (reached / sigma) * (x - denoised)


def extrapolated(denoised: torch.Tensor, previous: torch.Tensor, before, now, after) -> torch.Tensor:
    """x̂0 continued linearly from the previous one to halfway through the step from λ `now` to λ `after`.

    DPM-Solver++ (arXiv 2211.01095), Algorithm 2 (2M): D_i, with h/(2·h_prev) = 1/(2·r_i). before: λ of `previous`; −∞
    leaves x̂0 as it is.
    """
    return denoised + float((after - now) / (2 * (now - before))) * (denoised - previous)


def ddim(x: torch.Tensor, denoised: torch.Tensor, sigma, reached, following, clip: float | None):
    """(Next latents, x̂0) of DDIM (arXiv 2010.02502) with η = 0: Eq. 13, whose σ is ours.

    reached: the σ of the update; following: that of the next evaluation, 0 after the last. The scheduler keeps its
    latents x/√(σ²+1) between the two, which returns those of σ = 0 as they are. clip: of x̂0, but not of the noise.
    """
    kept = denoised if clip is None else denoised.clamp(-clip, clip)
    moved = kept + (reached / sigma) * (x - denoised)
    return moved * ((following**2 + 1) / (reached**2 + 1)) ** 0.5, kept
