"""The typed model of config.yaml: validation and defaults, and the source of its JSON schema and reference page."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError, field_validator, model_validator

from ttsnap.errors import BadInput, reads
from ttsnap.settings.checks import check_together
from ttsnap.settings.files import read_config
from ttsnap.settings.kinds import Checker
from ttsnap.settings.model import Model
from ttsnap.settings.report import Report
from ttsnap.settings.section import Section, Seed, first_fault
from ttsnap.settings.sections import Limits, Name, PromptSets, RewardModel, Search
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
    levels: list[Annotated[int, Field(ge=0)]] = Field(
        description="steps that get a noise-aware checkpoint; finetuned from the cleanest to the noisiest"
    )
    checker: Checker | None = Field(
        None, description="objective verdict reported with every reward (shapes: geometry and colour)"
    )
    simulate: Simulate = Field(default_factory=Simulate, description="simulation")
    search: Search = Field(default_factory=Search, description="real search")
    report: Report = Field(default_factory=Report, description="report")
    sft: Sft = Field(default_factory=Sft, description="the second method, `snakemake sft`")
    limits: Limits = Field(default_factory=Limits, description="most that a job may request from a cluster")

    @field_validator("rewards", mode="before")
    @classmethod
    def _without_null(cls, rewards):
        """Drop rewards set to null, so that a --configfile can remove one of config.yaml's."""
        if isinstance(rewards, dict):
            return {name: reward for name, reward in rewards.items() if reward is not None}
        return rewards

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
