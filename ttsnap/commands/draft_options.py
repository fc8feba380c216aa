"""The options for drafts and for the decoder of looks: the config's `drafts` and `looks`."""

from collections.abc import Collection
from pathlib import Path
from typing import Annotated

from pydantic import Field

from ttsnap.commands.model_options import ForSampling, open_model, sampling_of
from ttsnap.commands.options import Readable, from_yaml
from ttsnap.errors import BadInput
from ttsnap.models import check_model, check_there, resolve
from ttsnap.models.latents import check_decoder, check_draft_model
from ttsnap.settings.drafts import Draft, Name


class NamedDraft(Draft):
    """A draft as the value of --draft."""

    name: Name
    model: Readable | None = None
    lora: Readable | None = None


class ForLooks(ForSampling):
    """The model, its drafts, and how looks are decoded."""

    look_decoder: Readable | None = Field(
        None, description="AutoencoderTiny (TAESD) that decodes looks; default: the model's VAE, as for final images"
    )
    draft: list[Annotated[NamedDraft, from_yaml(NamedDraft, "{name: few, steps: 5}")]] = Field(
        [],
        description="an image made from a candidate's own noise in less compute, as YAML with name, steps and model, "
        'lora, guidance, solver or karras, e.g. "{name: few, steps: 5}"; repeatable',
    )

    @property
    def drafts(self) -> dict[str, NamedDraft]:
        """The drafts by name, in the order given."""
        return {draft.name: draft for draft in self.draft}


def check_looks(options: ForLooks) -> None:
    """Raise BadInput, before anything slow is imported, for a model, decoder or draft that is not there."""
    check_model(options.path, "--model")
    if options.look_decoder:
        check_there(options.look_decoder, "--look-decoder")
        check_decoder(options.look_decoder, options.path, "--look-decoder")
    names = [draft.name for draft in options.draft]
    if twice := [name for name in names if names.count(name) > 1]:
        raise BadInput(f"--draft: two are called {twice[0]}; name one otherwise")
    for draft in options.draft:
        check_draft_files(draft, options.path, f"--draft: {draft.name}")
    if options.draft and options.negtome:
        raise BadInput("--draft: with NegToMe a candidate depends on its group; give --negtome off")


def check_draft_files(draft: Draft, model: str, where: str) -> None:
    """Raise BadInput, beginning with `where`, for a model or LoRA of a draft that is not there or of other latents."""
    if draft.model:
        check_model(draft.model, f"{where}.model")
        check_draft_model(draft.model, model, f"{where}.model")
    if draft.lora:
        check_there(draft.lora, f"{where}.lora")
        if not str(resolve(draft.lora)).endswith(".safetensors"):
            raise BadInput(f"{where}.lora: {draft.lora} is not a .safetensors file; name the file of a LoRA")
        if not Path(resolve(draft.lora)).is_file():
            raise BadInput(f"{where}.lora: {draft.lora}: no such file")


def open_with_drafts(options: ForLooks, device: str, only: Collection[str] | None = None):
    """The sampler that the options name, on `device`, and its drafters by name; only: of these drafts."""
    from ttsnap.samplers import load_sampler
    from ttsnap.samplers.drafts import open_drafts

    sampler = open_model(options, device, options.look_decoder)

    def load(path: str, draft: Draft):
        own = {key: getattr(draft, key) for key in ("steps", "solver", "karras")}
        guidance = options.guidance if draft.guidance is None else draft.guidance
        settings = sampling_of(options, device) | own | {"family": None, "guidance": guidance, "negtome": None}
        return load_sampler(path, **settings)

    wanted = {name: draft for name, draft in options.drafts.items() if only is None or name in only}
    return sampler, open_drafts(sampler, wanted, load)
