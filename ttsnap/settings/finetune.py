"""The settings of noise-aware finetuning, in the config and in `ttsnap finetune`."""

from typing import Annotated, Literal

from pydantic import Field

from ttsnap.pruning.schedule import Look
from ttsnap.settings.drafts import LookAt
from ttsnap.settings.section import Count, Positive, Section

Rate = Annotated[float, Field(gt=0)]


class Lora(Section):
    """Low-rank adapters (peft) instead of full weights."""

    rank: Positive = Field(8, description="rank r of the update B·A")
    alpha: Annotated[float, Field(gt=0)] = Field(16, description="the update is scaled by alpha / rank")


class FinetuneLevel(Section):
    """Noise-aware finetuning of one reward for one level."""

    lr: Rate = Field(3e-6, description="learning rate of AdamW")
    batch_size: Positive = Field(100, description="images per process and forward pass; whole groups of one prompt")
    accumulate: Positive = Field(1, description="forward passes per process and optimiser step")
    loss: Literal["mse", "preference"] = Field("mse", description="MSE, or Bradley–Terry over pairs of one prompt")
    temperature: Annotated[float, Field(gt=0)] = Field(0.5, description="temperature of the preference loss")
    standardise: Literal["none", "batch", "prompt", "centre"] = Field(
        "none",
        description=(
            "before the loss, standardise prediction and target over the batch or within each prompt; centre: only"
            " subtract each prompt's mean, so that prompts keep their spread"
        ),
    )
    decay: Literal["linear", "cosine", "exponential", "constant"] = Field(
        "linear", description="learning-rate decay, down to the share `floor`"
    )
    floor: Annotated[float, Field(gt=0, le=1)] = Field(0.5, description="share of the learning rate at the end")
    warmup: Annotated[float, Field(ge=0, lt=1)] = Field(0.0, description="share of the steps spent warming up")
    epochs: Positive = Field(1, description="passes over the images per level")
    shift: Count = Field(0, description="move each training image by up to so many pixels, at random (augmentation)")
    lora: Lora | None = Field(None, description="train adapters instead of the full weights")


class Finetune(FinetuneLevel):
    """Noise-aware finetuning of one reward (TTSnap, arXiv 2511.22242)."""

    lr_at: dict[LookAt, Rate] = Field(
        default_factory=dict, description="other learning rates for some levels, e.g. {2: 1.0e-6, few: 3.0e-6}"
    )

    start: str | None = Field(
        None,
        description="checkpoints to start the levels from, in place of the base weights and of the level before, e.g. "
        "embedded:shapes-levels/pickscore.{level}.safetensors, where {level} stands for each level",
    )

    def at(self, level: Look) -> FinetuneLevel:
        """The settings of one level."""
        values = {key: getattr(self, key) for key in FinetuneLevel.model_fields}
        return FinetuneLevel(**values | {"lr": self.lr_at.get(level, self.lr)})
