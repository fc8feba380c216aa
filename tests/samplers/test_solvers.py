"""Each solver against diffusers' own pipelines and schedulers, from the same noise, on tiny random models."""

import warnings

import numpy as np
import pytest
import tiny
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    PNDMScheduler,
)

from ttsnap.errors import BadInput, Notice
from ttsnap.samplers import load_sampler, run, wrap_pipeline
from ttsnap.samplers.solvers import DPMPP, log_snr

SIZE = {"height": 32, "width": 48}
PROMPT, SEEDS = "a red circle", [11, 2**62 + 5, 7]
BETAS = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
SPACED = [
    ("euler", EulerDiscreteScheduler, {}),
    ("dpmpp_2m", DPMSolverMultistepScheduler, {}),
    ("dpmpp_2m", DPMSolverMultistepScheduler, {"solver_order": 1}),
    ("ddim", DDIMScheduler, {"clip_sample": False, "set_alpha_to_one": False}),
    ("ddim", DDIMScheduler, {"clip_sample": True, "clip_sample_range": 0.7}),
]


def pipeline(family: str, scheduler, prediction: str = "epsilon", **options):
    """A tiny pipeline with a scheduler of this class."""
    pipe = getattr(tiny, family)()
    if family != "flux":
        options = BETAS | {"prediction_type": prediction} | options
    pipe.register_modules(scheduler=scheduler(**options))
    pipe.set_progress_bar_config(disable=True)
    for module in pipe.components.values():
        if isinstance(module, torch.nn.Module):
            module.eval()
    return pipe


def own_run(pipe, steps: int, guidance: float = 3.0) -> torch.Tensor:
    """The pipeline's own final latents for SEEDS."""
    return tiny.own_run(pipe, PROMPT, SEEDS, steps, guidance, SIZE)


def opened(pipe, steps: int, guidance: float = 3.0, **how):
    return wrap_pipeline(pipe, steps=steps, guidance=guidance, **SIZE, **how)


def tweedie_run(sampler, seeds=SEEDS, **kwargs):
    """Final latents and all Tweedie latents [steps, n, …]."""
    seen = []
    latents, _ = run(sampler, PROMPT, seeds, lambda s, ids, x: seen.append(x), **kwargs)
    return latents, torch.stack(seen)


def close(a, b, relative=1e-4):
    assert b.isfinite().all()
    torch.testing.assert_close(a, b, rtol=0, atol=relative * b.abs().max().item())


def compare(pipe, steps, guidance=3.0, solver=None, relative=1e-4, **how):
    """Sample both ways; the image of the last step is the final one."""
    sampler = opened(pipe, steps, guidance, **how)
    assert solver in (None, sampler.solver)
    final, denoised = tweedie_run(sampler)
    close(final, own_run(pipe, steps, guidance), relative)
    assert torch.equal(final, denoised[-1])
    return sampler


@pytest.mark.parametrize("steps", [2, 5, 20])
@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
@pytest.mark.parametrize(("solver", "scheduler", "options"), SPACED)
def test_a_folders_own_solver_is_that_of_its_pipeline(solver, scheduler, options, spacing, steps):
    """Uneven timesteps too: 20 of linspace, where DDIM goes elsewhere than to the next timestep."""
    for prediction in ("epsilon", "v_prediction"):
        pipe = pipeline("sdxl", scheduler, prediction, timestep_spacing=spacing, steps_offset=1, **options)
        # Clipping x̂0 but not ε enlarges rounding: diffusers itself is off by 1e-3 from its result in float64.
        relative = 3e-3 if options.get("clip_sample") and prediction == "epsilon" else 1e-4
        sampler = compare(pipe, steps, solver=solver, relative=relative)
        assert sampler.describe()["scheduler"] == scheduler.__name__
        assert sampler.describe().get("solver", "euler") == solver


@pytest.mark.parametrize("steps", [3, 7, 33])
@pytest.mark.parametrize("to_one", [False, True])
@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
def test_ddim_at_numbers_of_steps_that_do_not_divide_1000(spacing, to_one, steps):
    options = {"clip_sample": False, "set_alpha_to_one": to_one, "timestep_spacing": spacing}
    compare(pipeline("sd15", DDIMScheduler, "v_prediction", **options), steps, solver="ddim")


@pytest.mark.parametrize(("solver", "scheduler", "options"), SPACED)
def test_sd15_too(solver, scheduler, options):
    pipe = pipeline("sd15", scheduler, timestep_spacing="leading", steps_offset=1, **options)
    compare(pipe, 5, solver=solver)


@pytest.mark.parametrize(("solver", "scheduler", "options"), SPACED)
def test_one_step_starts_from_pure_noise(solver, scheduler, options):
    for family, prediction in (("sdxl", "epsilon"), ("sd15", "v_prediction")):
        own = pipeline(family, scheduler, prediction, timestep_spacing="leading", **options)
        assert opened(own, 1).timesteps.tolist() == [999]
        compare(pipeline(family, scheduler, prediction, timestep_spacing="trailing", **options), 1, 1.0)


@pytest.mark.parametrize("steps", [1, 2, 5, 20])
@pytest.mark.parametrize(("solver", "scheduler"), [row[:2] for row in SPACED[:2]])
def test_karras_spacing(solver, scheduler, steps):
    for prediction in ("epsilon", "v_prediction"):
        karras = pipeline("sdxl", scheduler, prediction, timestep_spacing="trailing", use_karras_sigmas=True)
        sampler = compare(karras, steps)
        assert sampler.describe()["scheduler"] == f"{scheduler.__name__}, karras"
        plain = pipeline("sdxl", scheduler, prediction, timestep_spacing="trailing", use_beta_sigmas=True)
        assert torch.equal(opened(plain, steps, karras=True).sigmas, sampler.sigmas)
        off = opened(karras, steps, karras=False)
        assert not torch.equal(off.sigmas, sampler.sigmas) or steps <= 2  # the same first and last σ
        assert off.describe()["scheduler"] == scheduler.__name__


@pytest.mark.parametrize("scheduler", [DDIMScheduler, DPMSolverMultistepScheduler, EulerDiscreteScheduler])
def test_betas_without_signal_at_the_end(scheduler):
    """Zero terminal SNR: DDIM's first σ is infinite, and its first x̂0 must not lose digits for that.

    With the other schedulers of diffusers σ is 4096 there, and Euler's update loses three digits beside it.
    """
    options = {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    clip = {"clip_sample": False} if scheduler is DDIMScheduler else {}
    for steps in (1, 2, 5):
        pipe = pipeline("sdxl", scheduler, "v_prediction", **options, **clip)
        sampler = opened(pipe, steps)
        relative = 1e-3 if scheduler is EulerDiscreteScheduler else 2e-5
        close(run(sampler, PROMPT, SEEDS)[0], own_run(pipe, steps), relative)
        assert sampler.sigmas.isfinite().all()


@pytest.mark.parametrize("solver", ["euler", "dpmpp_2m", "ddim"])
def test_a_solver_by_name_is_that_of_diffusers_on_the_folders_config(solver):
    names = {"euler": EulerDiscreteScheduler, "dpmpp_2m": DPMSolverMultistepScheduler, "ddim": DDIMScheduler}
    own = [EulerDiscreteScheduler, PNDMScheduler, DPMSolverMultistepScheduler]
    for scheduler, more in zip(own, ({}, {}, {"solver_order": 3, "solver_type": "heun"}), strict=True):
        pipe = pipeline("sdxl", scheduler, timestep_spacing="trailing", **more)
        options = {"dpmpp_2m": DPMPP, "ddim": {"clip_sample": False}}.get(solver, {})
        with warnings.catch_warnings():
            warnings.simplefilter("error", Notice)
            final = run(opened(pipe, 5, solver=solver), PROMPT, SEEDS)[0]
        config = {k: v for k, v in pipe.scheduler.config.items() if k != "_use_default_values"}
        pipe.register_modules(scheduler=names[solver].from_config(config | options))
        close(final, own_run(pipe, 5))


@pytest.mark.parametrize("steps", [1, 2, 5, 20])
@pytest.mark.parametrize("options", [{"use_dynamic_shifting": True}, {"shift": 3.0}, {"use_karras_sigmas": True}])
def test_flux_by_dpm_solver_is_diffusers_scheduler_at_the_same_levels(options, steps):
    sampler = opened(pipeline("flux", FlowMatchEulerDiscreteScheduler, **options), steps, solver="dpmpp_2m")
    reference = DPMSolverMultistepScheduler(use_flow_sigmas=True, prediction_type="flow_prediction")
    reference.set_timesteps(steps)
    reference.sigmas, x = sampler.sigmas, sampler.init(SEEDS)
    condition, euler = sampler.encode(PROMPT), opened(sampler.pipe, steps)
    assert torch.equal(euler.sigmas, sampler.sigmas)
    with torch.no_grad():
        for s in range(steps):
            denoised = euler.step(s, x, condition)[1]
            x = reference.step((x - denoised) / sampler.sigmas[s], reference.timesteps[s], x).prev_sample
    close(run(sampler, PROMPT, SEEDS)[0], x)
    described = sampler.describe()
    assert described["solver"] == "dpmpp_2m" and described["scheduler"].startswith("FlowMatchEulerDiscreteScheduler")


def test_flux_by_dpm_solver_is_its_pipeline_with_that_scheduler():
    """FluxPipeline takes it, at levels of its own, which start a little below 1: second order from step 1 on."""
    flow = {"use_flow_sigmas": True, "prediction_type": "flow_prediction", "use_dynamic_shifting": True}
    pipe = pipeline("flux", FlowMatchEulerDiscreteScheduler, use_dynamic_shifting=True)
    sampler = opened(pipe, 5, solver="dpmpp_2m")
    pipe.register_modules(scheduler=DPMSolverMultistepScheduler(**flow))
    expected = own_run(pipe, 5)
    sampler.sigmas, sampler.timesteps = pipe.scheduler.sigmas, pipe.scheduler.timesteps
    sampler.lambdas = log_snr(sampler.sigmas, flow=True)
    close(run(sampler, PROMPT, SEEDS)[0], expected)


def test_second_order_is_closer_to_many_steps():
    pipe = pipeline("sdxl", DPMSolverMultistepScheduler, timestep_spacing="trailing")
    exact = run(opened(pipe, 400, 1.0), PROMPT, SEEDS)[0]
    pipe.scheduler.register_to_config(solver_order=1)
    first = run(opened(pipe, 20, 1.0), PROMPT, SEEDS)[0]
    second = run(opened(pipe, 20, 1.0, solver="dpmpp_2m"), PROMPT, SEEDS)[0]
    assert (second - exact).norm() < 0.6 * (first - exact).norm()


@pytest.mark.parametrize("batch_size", [None, 2])
@pytest.mark.parametrize("family", ["sdxl", "flux"])
def test_dropping_carries_the_previous_estimates_along(family, batch_size):
    scheduler = {"sdxl": EulerDiscreteScheduler, "flux": FlowMatchEulerDiscreteScheduler}[family]
    sampler = opened(pipeline(family, scheduler), 6, solver="dpmpp_2m")
    seeds = [3, 1, 4, 15, 92]
    final, denoised = tweedie_run(sampler, seeds, batch_size=1)
    left = {2: [4, 1, 3], 3: [False, True, True]}
    kept = {s: [0, 1, 2, 3, 4] if s <= 2 else [4, 1, 3] if s == 3 else [1, 3] for s in range(6)}

    def on_step(s, ids, x):
        assert ids == kept[s]
        close(x, denoised[s][ids], 1e-5)
        return left.get(s)

    latents, ids = run(sampler, PROMPT, seeds, on_step, batch_size=batch_size)
    assert ids == [1, 3]
    close(latents, final[ids], 1e-5)
    survivors = run(sampler, PROMPT, seeds, lambda s, *_: {2: [4, 1, 3], 3: [1, 2]}.get(s), batch_size=1)[0]
    assert torch.equal(survivors, final[[1, 3]])  # to the bit, where batches are the same


@pytest.mark.parametrize(
    ("scheduler", "options"),
    [
        (PNDMScheduler, {}),
        (DPMSolverMultistepScheduler, {"algorithm_type": "sde-dpmsolver++"}),
        (DPMSolverMultistepScheduler, {"solver_order": 3}),
        (DPMSolverMultistepScheduler, {"solver_type": "heun"}),
    ],
)
def test_other_schedulers_are_replaced_by_euler_with_one_notice(scheduler, options, tmp_path):
    folder = tiny.save(pipeline("sdxl", scheduler, timestep_spacing="trailing", **options), tmp_path / "m")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        sampler = load_sampler(folder, steps=4, guidance=1.0, **SIZE)
        assert sampler.variant(steps=2).solver == "euler"
    (notice,) = [str(w.message) for w in caught if issubclass(w.category, Notice)]
    assert scheduler.__name__ in notice and "solver: euler, dpmpp_2m, ddim" in notice and "\n" not in notice
    assert sampler.solver == "euler"
    assert sampler.describe()["scheduler"] == "EulerDiscreteScheduler"
    assert sampler.timesteps.tolist() == [999, 749, 499, 249]


REFUSED = [
    ("sdxl", DDIMScheduler, {"clip_sample": True}, {"solver": "euler"}, "solver: euler does not clip"),
    ("sdxl", DDIMScheduler, {"clip_sample": False}, {"karras": True}, "karras: ddim has no Karras spacing"),
    ("sdxl", EulerDiscreteScheduler, {}, {"solver": "ddim", "karras": True}, "karras: ddim has no Karras"),
    ("sdxl", EulerDiscreteScheduler, {}, {"solver": "heun"}, "solver: heun is not one of euler, dpmpp_2m, ddim"),
    ("flux", FlowMatchEulerDiscreteScheduler, {}, {"solver": "ddim"}, "solver: ddim is not one of euler, dpmpp_2m,"),
    ("sdxl", DDIMScheduler, {"clip_sample": False, "steps_offset": 1}, {"steps": 1000}, "steps: 1000 start after"),
    ("sdxl", DPMSolverMultistepScheduler, {}, {"steps": 1000}, "steps: 1000 are more than"),
]


@pytest.mark.parametrize(("family", "scheduler", "options", "how", "says"), REFUSED)
def test_what_does_not_go_together_is_refused(family, scheduler, options, how, says):
    with pytest.raises(BadInput, match=says) as error:
        opened(pipeline(family, scheduler, **options), **{"steps": 4} | how)
    assert "\n" not in str(error.value)


VARIANTS = [
    ("sdxl", EulerDiscreteScheduler, {"timestep_spacing": "trailing"}),
    ("sd15", DDIMScheduler, {"clip_sample": False, "set_alpha_to_one": False}),
    ("sdxl", DPMSolverMultistepScheduler, {"solver_order": 1, "use_karras_sigmas": True}),
    ("flux", FlowMatchEulerDiscreteScheduler, {"use_dynamic_shifting": True}),
]


@pytest.mark.parametrize(("family", "scheduler", "options"), VARIANTS)
def test_a_variant_is_the_pipeline_in_its_steps(family, scheduler, options):
    pipe = pipeline(family, scheduler, **options)
    sampler = opened(pipe, 6, name="mine")
    sampler.version = "mine@0"
    before, described = run(sampler, PROMPT, SEEDS)[0], sampler.describe()
    few = sampler.variant(steps=3, guidance=2.0)
    close(run(few, PROMPT, SEEDS)[0], own_run(pipe, 3, 2.0))
    assert few.denoiser is sampler.denoiser and few.pipe is pipe
    assert few.describe() == described | {"steps": 3, "guidance": 2.0}
    assert sampler.describe() == described
    assert torch.equal(run(sampler, PROMPT, SEEDS)[0], before)
    assert sampler.variant(steps=6).describe() == described


def test_a_variant_has_its_own_solver():
    pipe = pipeline("sdxl", EulerDiscreteScheduler, timestep_spacing="trailing")
    sampler = opened(pipe, 6, solver="ddim")
    assert sampler.variant(steps=2).solver == "ddim"
    few = sampler.variant(steps=4, solver="dpmpp_2m", karras=True)
    assert few.describe()["scheduler"] == "DPMSolverMultistepScheduler, karras"
    assert few.variant(steps=3).describe() == few.describe() | {"steps": 3}
    pipe.register_modules(
        scheduler=DPMSolverMultistepScheduler.from_config(pipe.scheduler.config, use_karras_sigmas=True)
    )
    close(run(few, PROMPT, SEEDS)[0], own_run(pipe, 4))


def test_levels_are_finite_or_only_noise_or_only_image():
    assert log_snr(torch.tensor([1.0, 0.5, 0.0]), flow=True).tolist() == [-np.inf, 0.0, np.inf]
    assert log_snr(torch.tensor([1.0, 0.0]), flow=False).tolist() == [0.0, np.inf]
