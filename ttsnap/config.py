"""The typed model of config.yaml: validation and defaults; JSON schema and reference page are made from it."""

from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from ttsnap.config_checks import check_files, check_together
from ttsnap.errors import BadInput
from ttsnap.finetune.settings import Finetune
from ttsnap.negtome_settings import NegToMe
from ttsnap.presets import PRESETS, with_preset
from ttsnap.prompts import read_prompts
from ttsnap.rewards.registry import KINDS
from ttsnap.section import Positive, Section
from ttsnap.sft.settings import Sft

Fraction = Annotated[float, Field(gt=0, le=1)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]


class Model(Section):
    """The text-to-image model and how it is sampled."""

    preset: str | None = Field(
        None, description=f"published settings to start from: {', '.join(PRESETS)}"
    )
    path: str = Field(description="diffusers folder, hub id, or embedded:NAME")
    family: Literal["sdxl", "flux", "sd15"] | None = Field(
        None, description="model family; null: as the folder says"
    )
    steps: Annotated[int, Field(gt=0, le=1000)] = Field(20, description="denoising steps S")
    guidance: Annotated[float, Field(ge=0)] = Field(
        5.0, description="classifier-free guidance scale"
    )
    height: Positive = Field(512, description="image height in pixels")
    width: Positive = Field(512, description="image width in pixels")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto",
        description="weights' type; auto: bfloat16 where the hardware multiplies it, else float32",
    )
    batch_size: Positive = Field(
        8, description="candidates denoised at once; results do not depend on it"
    )
    offload: Literal["none", "model", "sequential"] = Field(
        "none", description="GPU memory holds all parts, the part at work, or the layer at work"
    )
    compile: bool = Field(False, description="torch.compile the denoiser")
    slicing: bool = Field(False, description="decode one image at a time: less memory")
    negtome: NegToMe | None = Field(
        None, description="push the candidates of a group apart; null: off"
    )

    @model_validator(mode="before")
    @classmethod
    def _preset(cls, values):
        return with_preset(values) if isinstance(values, dict) else values


class Prompts(Section):
    """One set of prompts."""

    file: str = Field(description="prompt file: .txt, .json (list), .jsonl or .csv")
    candidates: Annotated[int, Field(gt=0, le=10_000)] = Field(
        description="seeds started for each prompt"
    )
    shard_size: Positive = Field(16, description="prompts per job")
    limit: Positive | None = Field(None, description="use only the first so many prompts")


class PromptSets(Section):
    """The three sets; no prompt may stand in two of them."""

    train: Prompts = Field(description="what noise-aware finetuning learns from")
    validation: Prompts = Field(description="what checkpoints are judged and schedules fitted on")
    test: Prompts = Field(description="what the report is about; nothing is chosen on it")


class RewardModel(Section):
    """One reward (verifier)."""

    kind: str = Field(description=f"{', '.join(KINDS)}, or your own class as package.module:Class")
    options: dict[str, str | int | float | bool] = Field(
        default_factory=dict, description="what that class takes, e.g. path: embedded:shapes-clip"
    )
    finetune: Finetune = Field(
        default_factory=Finetune, description="how its noise-aware weights are made"
    )


class Budgets(Section):
    """The budgets that are compared, in candidates of best-of-N or in TFLOP per prompt."""

    unit: Literal["candidates", "tflop"] = Field(
        "candidates", description="what first, last and step count"
    )
    first: Annotated[float, Field(gt=0)] = Field(2, description="smallest budget")
    last: Annotated[float, Field(gt=0)] = Field(10, description="largest budget, itself included")
    step: Annotated[float, Field(gt=0)] = Field(1, description="distance between budgets")


class Schedule(Section):
    """Looks at steps s_1 < … < s_k, each keeping a fraction of the candidates."""

    steps: list[Annotated[int, Field(ge=0)]] = Field(description="steps looked at, ascending")
    keep: list[Fraction] = Field(description="fraction α kept at each")

    @model_validator(mode="after")
    def _ordered(self):
        if len(self.steps) != len(self.keep):
            raise ValueError(
                f"steps has {len(self.steps)} entries and keep {len(self.keep)}; give one α a step"
            )
        if any(b <= a for a, b in zip(self.steps, self.steps[1:], strict=False)):
            raise ValueError(f"steps {self.steps} must ascend")
        return self


class Simulate(Section):
    """Monte Carlo simulation on the reward tensors."""

    accounting: Literal["exact", "published"] = Field(
        "exact", description="cost formula (DESIGN §3)"
    )
    budgets: Budgets = Field(default_factory=Budgets, description="budgets per prompt")
    draws: Annotated[int, Field(gt=0, le=100_000)] = Field(
        100, description="random subsets per prompt and budget"
    )
    schedule: Literal["fit"] | Schedule = Field(
        "fit",
        description="fit: search on the validation prompts, for each reward and method; or a fixed one",
    )


class Search(Section):
    """The real search of test prompts with best-of-N, TTSp and TTSnap, compared with the simulation."""

    rewards: list[Name] = Field(
        default_factory=list,
        description="rewards to search by, each alone; none: no real search",
    )
    unit: Literal["candidates", "tflop"] = Field(
        "candidates", description="what budgets count: candidates of best-of-N, or TFLOP"
    )
    budgets: list[Annotated[float, Field(gt=0)]] = Field(
        [4], description="per prompt", min_length=1
    )
    prompts: Positive | None = Field(None, description="only the first so many test prompts")
    fresh: bool = Field(
        True,
        description="candidates that are not in the reward tensor: an independent check of the simulation",
    )


class Report(Section):
    """What the report shows."""

    gallery: Annotated[int, Field(ge=0)] = Field(
        6, description="test prompts shown as Tweedie strips"
    )
    gallery_candidates: Annotated[int, Field(ge=2)] = Field(
        6, description="budget of the gallery, in candidates of best-of-N"
    )


class Limits(Section):
    """What no job may ask a cluster for more of; the profile is a good place for it."""

    mem_mb: Positive | None = Field(None, description="memory in MB; jobs that fail ask for more")
    runtime: Positive | None = Field(None, description="minutes; jobs that fail ask for more")
    gpu: Annotated[int, Field(ge=0)] = Field(
        1, description="0 where there are none: then nothing asks for one"
    )


class Config(Section):
    """config.yaml."""

    seed: Annotated[int, Field(ge=0, lt=2**32)] = Field(
        0, description="run seed: candidates, training order, simulation"
    )
    model: Model = Field(description="the text-to-image model")
    prompts: PromptSets = Field(description="prompt sets")
    rewards: dict[Name, RewardModel] = Field(
        description="rewards by a name of yours; null leaves one out", min_length=1
    )
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

    @field_validator("rewards", mode="before")
    @classmethod
    def _without_null(cls, rewards):
        """A reward set to null is left out: so can a file for --configfile do without one of config.yaml's."""
        if isinstance(rewards, dict):
            return {name: reward for name, reward in rewards.items() if reward is not None}
        return rewards

    @model_validator(mode="after")
    def _consistent(self):
        if "all" in self.rewards:
            raise ValueError("rewards.all: this name means all rewards together; choose another")
        check_together(self)
        return self

    def read_prompts(self, split: str) -> list[str]:
        """The prompts of one set, cut to its limit. Raises BadInput, naming the key, as `prompts.read_prompts` does."""
        prompts = getattr(self.prompts, split)
        try:
            return read_prompts(prompts.file)[: prompts.limit]
        except BadInput as error:
            raise BadInput(f"prompts.{split}.file: {error}") from None

    def check_files(self) -> None:
        """Look at every file named, as `config_checks.check_files` does."""
        check_files(self)


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
