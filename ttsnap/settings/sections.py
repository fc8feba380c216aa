"""The sections of config.yaml that make up `ttsnap.settings.config.Config`, each with its own keys and checks."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from ttsnap.pruning.seeds import MOST_CANDIDATES
from ttsnap.settings.finetune import Finetune
from ttsnap.settings.kinds import KINDS
from ttsnap.settings.section import Positive, Section

Fraction = Annotated[float, Field(gt=0, le=1)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]


class Prompts(Section):
    """One set of prompts."""

    file: str = Field(description="prompt file: .txt, .json (list), .jsonl or .csv")
    candidates: Annotated[int, Field(gt=0, le=MOST_CANDIDATES)] = Field(
        description="seeds started for each prompt"
    )
    shard_size: Positive = Field(16, description="prompts per job")
    limit: Positive | None = Field(None, description="use only the first so many prompts")


class PromptSets(Section):
    """The three sets; no prompt may stand in two of them."""

    train: Prompts = Field(description="what noise-aware finetuning learns from")
    validation: Prompts = Field(description="what checkpoints are judged and schedules fitted on")
    test: Prompts = Field(description="what the report is about; no stage chooses anything by it")


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
