"""`ttsnap optimize-noise`: the noise of a prompt whose one-step image has the highest reward."""

from typing import ClassVar

from pydantic import Field

from ttsnap.commands.device_options import OnDevice, pick_device
from ttsnap.commands.options import Command, Filled, ForModel, InFile, OutFolder
from ttsnap.commands.reward_options import ForReward, check_reward, open_reward
from ttsnap.errors import BadInput
from ttsnap.models import check_generator, weights_digest
from ttsnap.pruning.units import Units
from ttsnap.settings.section import Seed
from ttsnap.settings.sft import Optimise
from ttsnap.storage.prompts import read_prompts, text_fault


class OptimizeNoiseOptions(Command, Optimise, ForModel, ForReward, OnDevice):
    """The prompts, the model and the reward."""

    fills: ClassVar = Filled(("diagnostics_best.json",), ("prompt", "prompts", "batch_size"))

    prompt: str | None = Field(None, description="one prompt")
    prompts: InFile | None = Field(None, description="prompt file (.txt, .json, .jsonl or .csv), instead of --prompt")
    out: OutFolder = Field(description="folder; a rerun keeps finished prompts")
    seed: Seed = Field(0, description="run seed, of the initial noise")


def run(options: OptimizeNoiseOptions) -> dict:
    """Optimise every prompt; return the summary."""
    prompts = _prompts(options)
    check_generator(options.model, "--model")
    check_reward(options)
    from ttsnap.rewards.registry import identity, reward_module
    from ttsnap.sft.generators import load_generator
    from ttsnap.sft.optimise import optimise_prompts
    from ttsnap.storage.code_digest import code

    device = pick_device(options)
    generator = load_generator(options.model, size=options.size, device=device)
    if generator.image_shape[0] != 3:
        raise BadInput("--model: rewards read colour images; name a one-step pipeline")
    reward = open_reward(options, device)
    about = {
        "reward": options.called,
        "weights": weights_digest(options.model),
        "reward_kind": options.kind,
        "reward_options": identity(options.kind, options.option),
        "units": reward.score_units.to_json(),
        "code": code("ttsnap.commands.optimize_noise", reward_module(options.kind)),
    }
    settings = options.settings_of(Optimise)
    summary = optimise_prompts(generator, reward, prompts, options.out, settings, seed=options.seed, about=about)
    units = Units.from_json(about["units"], options.called)
    first, best = (units.reported(summary[key]) for key in ("reward_first", "reward_best"))
    print(
        f"{summary['prompts']} prompts: {units.label} {first:.4f} → {best:.4f} (of the 8-bit images), "
        f"{summary['improved']} improved"
    )
    return summary


def _prompts(options: OptimizeNoiseOptions) -> list[str]:
    if (options.prompt is None) == (options.prompts is None):
        raise BadInput("give either --prompt or --prompts")
    if options.prompts is not None:
        return read_prompts(options.prompts)
    prompt = options.prompt.strip()
    if not prompt:
        raise BadInput("--prompt: is empty")
    if fault := text_fault(prompt):
        raise BadInput(f"--prompt: holds {fault}")
    return [prompt]
