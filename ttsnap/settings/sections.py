"""Sections of config.yaml, used by `ttsnap.settings.config.Config`."""

from typing import Annotated

from pydantic import Field

from ttsnap.pruning.budget import Unit
from ttsnap.pruning.seeds import MOST_CANDIDATES
from ttsnap.settings.drafts import Name
from ttsnap.settings.finetune import Finetune
from ttsnap.settings.kinds import KINDS
from ttsnap.settings.section import Positive, Section


class Prompts(Section):
    """One set of prompts."""

    file: str = Field(description="prompt file: .txt, .json (list), .jsonl or .csv")
    candidates: Annotated[int, Field(gt=0, le=MOST_CANDIDATES)] = Field(description="seeds per prompt")
    shard_size: Positive = Field(16, description="prompts per job")
    limit: Positive | None = Field(None, description="number of prompts to use; null: all")


class PromptSets(Section):
    """The three sets; no prompt may be in two of them."""

    train: Prompts = Field(description="for noise-aware finetuning")
    validation: Prompts = Field(description="for evaluating checkpoints and fitting schedules")
    test: Prompts = Field(description="for the report; no stage selects anything on it")


class RewardModel(Section):
    """One reward (verifier)."""

    kind: str = Field(description=f"{', '.join(KINDS)}, or a class of your own as package.module:Class")
    options: dict[str, str | int | float | bool] = Field(
        default_factory=dict, description="arguments of that class, e.g. path: embedded:shapes-clip"
    )
    finetune: Finetune = Field(default_factory=Finetune, description="noise-aware finetuning")


class Reference(Section):
    """Reward tensors of a larger run of the same models, for the figures that a small run cannot give."""

    validation: str = Field(description="tensors to fit schedules on; {reward} stands for a reward's name")
    test: str = Field(description="tensors that figures are made from, of prompts that no stage selects anything on")


class Search(Section):
    """The real search of test prompts with best-of-N, TTSp and TTSnap, compared with the simulation."""

    rewards: list[Name] = Field(
        default_factory=list, description="rewards to search by, one at a time; empty: no real search"
    )
    unit: Unit = Field("candidates", description="unit of budgets: candidates of best-of-N, or TFLOP")
    budgets: list[Annotated[float, Field(gt=0)]] = Field([4], description="budgets per prompt", min_length=1)
    prompts: Positive | None = Field(None, description="number of test prompts to search; null: all")
    fresh: bool = Field(
        True, description="use candidates outside the reward tensor: an independent check of the simulation"
    )


class Limits(Section):
    """The most that a job may request from a cluster; best set in the profile."""

    mem_mb: Positive | None = Field(None, description="memory in MB; jobs that fail ask for more")
    runtime: Positive | None = Field(None, description="minutes; jobs that fail ask for more")
    gpu: Annotated[int, Field(ge=0)] = Field(1, description="GPUs per job; 0: no job requests one")
