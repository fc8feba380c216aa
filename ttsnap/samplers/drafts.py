"""Drafts: a candidate's image made from its own noise, in less compute than its full run.

A draft is made by the model itself in fewer steps, by a LoRA switched on its weights, or by another model of the same
latent space. Its compute is not used again: the full run starts from the noise.
"""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch

from ttsnap.errors import BadInput
from ttsnap.models import model_version, resolve
from ttsnap.models.latents import SPACE
from ttsnap.samplers.base import Sampler
from ttsnap.samplers.batches import MicroBatches
from ttsnap.samplers.cost import sampler_cost
from ttsnap.samplers.loop import run
from ttsnap.samplers.whole import adapter_layers, adapters_on, load_adapter
from ttsnap.settings.drafts import Draft


@dataclass(frozen=True)
class Drafter:
    """Makes the drafts of one name.

    sampler  of few steps; on the full run's own weights unless the draft has a model of its own
    adapter  LoRA on those weights that is on for the draft alone; "" for none
    lora     version of that LoRA's file
    """

    name: str
    sampler: Sampler
    adapter: str = ""
    lora: str = ""

    def latents(
        self, prompts: Sequence[str], seeds: Sequence[int], batch_size: int | MicroBatches | None = None
    ) -> torch.Tensor:
        """The drafts' latents [n, …] of candidates, each with its prompt and seed."""
        with self.switched():
            known = {prompt: self.sampler.encode(prompt) for prompt in dict.fromkeys(prompts)}
            return run(self.sampler, [known[prompt] for prompt in prompts], seeds, batch_size=batch_size)[0]

    def switched(self) -> contextlib.AbstractContextManager:
        """Within the block the draft's LoRA is on, and no other."""
        if not self.adapter:
            return contextlib.nullcontext()
        return adapters_on(self.sampler.pipe, lambda held, active: [name for name in held if name == self.adapter])

    @cached_property
    def evaluation_tflop(self) -> float:
        """TFLOP of one evaluation for one candidate, its LoRA counted."""
        with self.switched():
            return sampler_cost(self.sampler)["denoise"]

    @property
    def tflop(self) -> float:
        """TFLOP of one draft, without looking at it."""
        return self.sampler.steps * self.evaluation_tflop

    def describe(self) -> dict:
        """What makes the drafts, for the attributes of files."""
        about = self.sampler.describe()
        kept = ("model", "model_version", "scheduler", "solver", "prediction_type", "steps", "guidance", "dtype")
        lora = {"lora": self.lora} if self.lora else {}
        return {key: about[key] for key in kept if key in about} | lora | {"tflop": self.tflop}


def open_drafts(
    sampler: Sampler, drafts: Mapping[str, Draft], load: Callable[[str, Draft], Sampler]
) -> dict[str, Drafter]:
    """The drafters of a sampler's drafts, by name.

    load(path, draft): opens another model's folder as a sampler of the draft. Raises BadInput, naming the draft, for a
    model of another latent space, a LoRA that does not fit, and a draft that costs as much as a full run.
    """
    found = {}
    for name, draft in drafts.items():
        how = {"steps": draft.steps, "guidance": draft.guidance, "solver": draft.solver, "karras": draft.karras}
        try:
            if draft.model is not None:
                drafter = Drafter(name, load(resolve(draft.model), draft))
            elif draft.lora is not None:
                file = resolve(draft.lora)
                load_adapter(sampler.pipe, file, name)
                for layer in adapter_layers(sampler.pipe):
                    layer.set_adapter([other for other in layer.active_adapters if other != name])
                drafter = Drafter(name, sampler.variant(**how), name, lora=model_version(file))
            else:
                drafter = Drafter(name, sampler.variant(**how))
            found[name] = check_draft(sampler, drafter)
        except BadInput as error:
            raise BadInput(f"draft {name}: {error}") from None
    return found


def check_draft(sampler: Sampler, drafter: Drafter) -> Drafter:
    """Return the drafter; raise BadInput unless it draws in the sampler's latent space and costs less than a run."""
    other = drafter.sampler
    if other.family != sampler.family:
        raise BadInput(f"{other.name} is of the family {other.family}, {sampler.name} of {sampler.family}")
    ours, theirs = (tuple(each.init([0]).shape[1:]) for each in (sampler, other))
    if ours != theirs:
        raise BadInput(f"{other.name} has latents of shape {theirs}, {sampler.name} of {ours}")
    for key in SPACE:
        mine, wanted = (each.vae.config.get(key) or None for each in (other, sampler))
        if mine != wanted:
            raise BadInput(
                f"{other.name} has {key} {mine}, {sampler.name} {wanted}; a draft needs the same latent space"
            )
    full = sampler.steps * sampler_cost(sampler)["denoise"]
    if drafter.tflop >= full:
        raise BadInput(
            f"its {other.steps} steps cost {drafter.tflop:.4g} TFLOP, no less than the full run's {full:.4g}"
        )
    return drafter
