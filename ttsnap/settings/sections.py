"""The sections of config.yaml that make up `ttsnap.settings.config.Config`, each with its own keys and checks."""

from typing import Annotated

from pydantic import Field

from ttsnap.pruning.budget import Unit
from ttsnap.pruning.seeds import MOST_CANDIDATES
from ttsnap.settings.finetune import Finetune
from ttsnap.settings.kinds import KINDS
from ttsnap.settings.section import Positive, Section

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]


class Prompts(Section):
    """One set of prompts."""

    file: str = Field(description="prompt file: .txt, .json (list), .jsonl or .csv")
    candidates: Annotated[int, Field(gt=0, le=MOST_CANDIDATES)] = Field(description="seeds started for each prompt")
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
    finetune: Finetune = Field(default_factory=Finetune, description="how its noise-aware weights are made")


class Search(Section):
    """The real search of test prompts with best-of-N, TTSp and TTSnap, compared with the simulation."""

    rewards: list[Name] = Field(
        default_factory=list, description="rewards to search by, each alone; none: no real search"
    )
    unit: Unit = Field("candidates", description="what budgets count: candidates of best-of-N, or TFLOP")
    budgets: list[Annotated[float, Field(gt=0)]] = Field([4], description="per prompt", min_length=1)
    prompts: Positive | None = Field(None, description="only the first so many test prompts")
    fresh: bool = Field(
        True, description="candidates that are not in the reward tensor: an independent check of the simulation"
    )


class Limits(Section):
    """What no job may ask a cluster for more of; the profile is a good place for it."""

    mem_mb: Positive | None = Field(None, description="memory in MB; jobs that fail ask for more")
    runtime: Positive | None = Field(None, description="minutes; jobs that fail ask for more")
    gpu: Annotated[int, Field(ge=0)] = Field(1, description="0 where there are none: then nothing asks for one")
