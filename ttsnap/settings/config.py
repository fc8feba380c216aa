"""The typed model of config.yaml: validation and defaults, and the source of its JSON schema and reference page."""

from pathlib import Path

from pydantic import Field, ValidationError, field_validator, model_validator

from ttsnap.errors import BadInput, reads
from ttsnap.settings.checks import check_together
from ttsnap.settings.drafts import Draft, LookAt, Looks, Name
from ttsnap.settings.files import read_config
from ttsnap.settings.kinds import Checker
from ttsnap.settings.model import Model
from ttsnap.settings.report import Report
from ttsnap.settings.section import Section, Seed, first_fault
from ttsnap.settings.sections import Limits, PromptSets, Reference, RewardModel, Search
from ttsnap.settings.sft import Sft
from ttsnap.settings.simulate import Simulate


class Config(Section):
    """A run: the model, prompts and rewards, and the settings of each stage."""

    seed: Seed = Field(0, description="run seed: candidates, training order, simulation")
    model: Model = Field(description="the text-to-image model")
    prompts: PromptSets = Field(description="prompt sets")
    rewards: dict[Name, RewardModel] = Field(
        description="rewards under names of your choice; null leaves one out", min_length=1
    )
    drafts: dict[Name, Draft] = Field(
        default_factory=dict,
        description="cheap images of each candidate to look at before its first step, under names of your choice, in "
        "the order in which a schedule may use them; null leaves one out",
    )
    looks: Looks = Field(default_factory=Looks, description="how a look is decoded")
    levels: list[LookAt] = Field(
        description="steps and drafts that get a noise-aware checkpoint; steps are finetuned from the cleanest to the "
        "noisiest, each from the weights of the one before, a draft from the base weights"
    )
    checker: Checker | None = Field(
        None, description="objective verdict reported with every reward (shapes: geometry and colour)"
    )
    reference: Reference | None = Field(
        None,
        description="reward tensors of a larger run, in place of this run's own, to fit schedules on and simulate with",
    )
    simulate: Simulate = Field(default_factory=Simulate, description="simulation")
    search: Search = Field(default_factory=Search, description="real search")
    report: Report = Field(default_factory=Report, description="report")
    sft: Sft = Field(default_factory=Sft, description="the second method, `snakemake sft`")
    limits: Limits = Field(default_factory=Limits, description="most that a job may request from a cluster")

    @field_validator("rewards", "drafts", mode="before")
    @classmethod
    def _without_null(cls, named):
        """Drop what is set to null, so that a --configfile can remove a reward or draft of config.yaml's."""
        if isinstance(named, dict):
            return {name: section for name, section in named.items() if section is not None}
        return named

    @property
    def level_steps(self) -> list[int]:
        """The levels that are steps, from clean to noisy."""
        return [level for level in self.levels if not isinstance(level, str)]

    @property
    def level_drafts(self) -> list[str]:
        """The levels that are drafts."""
        return [level for level in self.levels if isinstance(level, str)]

    @model_validator(mode="after")
    def _consistent(self):
        if "all" in self.rewards:
            raise ValueError("rewards.all: this name means all rewards together; choose another")
        check_together(self)
        return self


def parse_config(values: object, source: str = "config") -> Config:
    """Validate a config. Raises BadInput, naming `source` (if any), the first key at fault and the remedy."""
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        place, message = first_fault(error, Config)
        if message.startswith(("unknown key", "is missing")):
            message += "; docs/config.md lists the keys"
        raise BadInput(": ".join(filter(None, (source, ".".join(place), message)))) from None


@reads("a config", "see docs/config.md")
def load_config(path: str | Path) -> Config:
    """Read and validate a YAML config file."""
    return parse_config(read_config(path), str(path))
