"""The typed model of config.yaml: validation and defaults; JSON schema and reference page are made from it."""

from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import Field, ValidationError, model_validator

from ttsnap.config_sections import (
    Limits,
    Name,
    PromptSets,
    Report,
    RewardModel,
    Search,
    Simulate,
)
from ttsnap.errors import BadInput
from ttsnap.model_settings import Model
from ttsnap.models import check_there
from ttsnap.prompts import read_prompts
from ttsnap.rewards.registry import reward_target
from ttsnap.section import Section
from ttsnap.sft.settings import Sft


class Config(Section):
    """config.yaml."""

    seed: Annotated[int, Field(ge=0)] = Field(
        0, description="run seed: candidates, training order, simulation"
    )
    model: Model = Field(description="the text-to-image model")
    prompts: PromptSets = Field(description="prompt sets")
    rewards: dict[Name, RewardModel] = Field(description="rewards by a name of yours", min_length=1)
    levels: list[Annotated[int, Field(ge=0)]] = Field(
        description="steps that get a noise-aware checkpoint; finetuned from the cleanest to the noisiest"
    )
    checker: Literal["shapes"] | None = Field(
        None,
        description="objective verdict reported beside every reward (shapes: geometry and colour)",
    )
    simulate: Simulate = Field(default_factory=Simulate, description="simulation")
    search: Search = Field(default_factory=Search, description="real search")
    report: Report = Field(default_factory=Report, description="report")
    sft: Sft = Field(default_factory=Sft, description="the second method, `snakemake sft`")
    limits: Limits = Field(default_factory=Limits, description="what a job may ask a cluster for")

    @model_validator(mode="after")
    def _consistent(self):
        if "all" in self.rewards:
            raise ValueError("rewards.all: this name means all rewards together; choose another")
        last = self.model.steps - 1
        if last < 1:
            raise ValueError("model.steps: 1 leaves nothing to prune; give at least 2")
        for level in self.levels:
            if level >= last:
                raise ValueError(
                    f"levels: {level} is not before the final step {last} (model.steps is {self.model.steps})"
                )
        if sorted(set(self.levels), reverse=True) != self.levels:
            raise ValueError(
                f"levels: {self.levels} must descend, from clean to noisy, each level once"
            )
        for name, reward in self.rewards.items():
            for level in reward.finetune.lr_at:
                if level not in self.levels:
                    raise ValueError(
                        f"rewards.{name}.finetune.lr_at: {level} is none of the levels {self.levels}"
                    )
        schedule = self.simulate.schedule
        if schedule != "fit" and schedule.steps and schedule.steps[-1] >= last:
            raise ValueError(
                f"simulate.schedule.steps: {schedule.steps[-1]} is not before the final step {last}"
            )
        if self.search.rewards and self.model.negtome:
            raise ValueError(
                "search.rewards: a real search drops candidates, on which NegToMe lets the others of their group"
                " depend; give [], or model.negtome: null"
            )
        for name in self.search.rewards:
            if name not in self.rewards:
                raise ValueError(
                    f"search.rewards: {name!r} is none of the rewards {', '.join(self.rewards)}"
                )
        for key in ("rewards", "budgets"):
            values = getattr(self.search, key)
            if len(set(values)) < len(values):
                raise ValueError(f"search.{key}: one stands twice in {values}")
        if self.simulate.budgets.last < self.simulate.budgets.first:
            raise ValueError("simulate.budgets.last: is smaller than first")
        return self

    def read_prompts(self, split: str) -> list[str]:
        """The prompts of one set, cut to its limit. Raises BadInput as `prompts.read_prompts` does."""
        prompts = getattr(self.prompts, split)
        return read_prompts(prompts.file)[: prompts.limit]

    def check_files(self) -> None:
        """Look at every file named. Raises BadInput for one that is missing or bad, or a prompt in two sets."""
        check_there(self.model.path, "model.path")
        for name, reward in self.rewards.items():
            reward_target(reward.kind)
            for key, value in reward.options.items():
                if isinstance(value, str):
                    check_there(value, f"rewards.{name}.options.{key}")
        data = self.sft.data
        for key in ("model", "features", "data.folder", "data.file", "data.test_file"):
            at = data if key.startswith("data.") else self.sft
            if value := getattr(at, key.removeprefix("data.")):
                check_there(value, f"sft.{key}")
        seen: dict[str, str] = {}
        for split in PromptSets.model_fields:
            for prompt in self.read_prompts(split):
                if prompt in seen:
                    raise BadInput(
                        f"prompts.{split}.file: {prompt[:60]!r} also stands in prompts.{seen[prompt]}.file; "
                        "held-out prompts must be held out: remove it from one"
                    )
                seen[prompt] = split
                if self.checker == "shapes":
                    from ttsnap.shapes.captions import parse

                    if parse(prompt) is None:
                        raise BadInput(
                            f"prompts.{split}.file: {prompt[:60]!r} is no caption of the shapes world; "
                            "set checker: null for prompts of your own"
                        )


def parse_config(values: object, source: str = "config") -> Config:
    """Validate a config. Raises BadInput: one line with the first key at fault and the remedy."""
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        # Of "fit or a schedule", what is wrong with the schedule says more than that it is not "fit".
        errors = error.errors()
        telling = [
            e for e in errors if e["type"] != "model_type" and "literal['fit']" not in e["loc"]
        ]
        first = (telling or errors)[0]
        hidden = ("literal['fit']", "function-after[_ordered(), Schedule]")
        where = ".".join(str(part) for part in first["loc"] if part not in hidden)
        message = first["msg"].removeprefix("Value error, ")
        remedy = {
            "extra_forbidden": "unknown key; see docs/config.md for the keys there are",
            "missing": "is missing; add it (docs/config.md says what it means)",
        }.get(first["type"], f"{message}, got {str(first['input'])[:60]!r}")
        text = message if first["type"] == "value_error" else remedy
        raise BadInput(f"{source}: {where + ': ' if where else ''}{text}") from None


def load_config(path: str | Path) -> Config:
    """Read and validate a YAML config file."""
    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BadInput(f"{path}: cannot be read as YAML ({' '.join(str(error).split())})") from None
    return parse_config(values, str(path))


if __name__ == "__main__":
    from ttsnap.config_page import write

    write()
