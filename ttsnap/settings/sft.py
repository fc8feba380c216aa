"""The settings of the second method, in the config and in its commands."""

from typing import Annotated, Literal, get_args

from pydantic import Field, model_validator

from ttsnap.settings.datasets import BUNDLED, LABELLED, Split
from ttsnap.settings.finetune import Lora, Rate
from ttsnap.settings.kinds import Checker
from ttsnap.settings.section import Count, Positive, Section

MOST_IMAGES = 100_000  # that one command can make
Weight = Annotated[float, Field(ge=0)]
Form = Literal["auto", "sphere", "exp", "cayley", "free"]
Optimiser = Literal["lbfgs", "adam"]
# That a generator is finetuned on; paired: the noise that each target was made from, which its pair names by a seed
Noise = Literal["random", "assigned", "paired"]
Way = Literal[("base", *get_args(Noise))]  # how a generator was made; base: the original one

# Config keys that are also command options
PromptField = Annotated[str, Field("prompt", description="name of the prompt in a line of pairs.jsonl")]
ImageField = Annotated[str, Field("image", description="name of the image path in a line of pairs.jsonl")]
SplitTaken = Annotated[Split, Field("train", description="split to take targets from")]
First = Annotated[Count, Field(0, description="first target")]
Fresh = Annotated[int, Field(500, ge=16, le=MOST_IMAGES, description="fresh random-noise samples to evaluate")]
Checked = Annotated[Checker | None, Field(None, description="objective verdict on fresh samples")]


class Gan(Section):
    """The class-conditional GAN trained when no model is given (hinge loss, Adam 2e-4, β 0.5/0.999)."""

    latent: Annotated[int, Field(ge=2)] = Field(64, description="length of the noise vector z")
    width: Positive = Field(32, description="channels of the last block; the first has 4 times as many")
    epochs: Positive = Field(60, description="passes over the training images")
    batch_size: Annotated[int, Field(ge=2)] = Field(64, description="images per step")
    lr: Rate = Field(2e-4, description="learning rate of both networks")
    limit: Positive | None = Field(None, description="number of training images to use; null: all")


class Assign(Section):
    """The E-step: assign noise to targets."""

    form: Form = Field(
        "auto",
        description="where noise may lie; auto: sphere for vectors, exp for latents; free: anywhere, best with a prior",
    )
    patch: Positive = Field(2, description="side p of a patch, in latents")
    optimiser: Optimiser = Field("lbfgs", description="lbfgs (batched, a third of Adam's steps), or adam as published")
    steps: Count = Field(200, description="evaluations with gradient; for lbfgs an upper limit")
    tolerance: Weight = Field(
        2e-3, description="lbfgs: stop a target when ten steps add less than this share of its total gain"
    )
    lr: Rate = Field(5e-2, description="learning rate of adam; published: 5e-2 for GANs, 5e-4 for SDXL Turbo")
    latent: Weight = Field(1.0, description="weight of the MSE of latents (of images, for GANs)")
    pixel: Weight = Field(0.1, description="weight of the L1 of pixels")
    drift: Weight = Field(0.0, description="weight of MSE(z, ε)")
    prior: Weight = Field(0.0, description="weight of KL(moments of z ‖ N(0, 1))")
    batch_size: Positive | None = Field(
        None, description="targets optimised at once; null: 128 for vectors, 32 for latents; hardly affects results"
    )


class Optimise(Section):
    """Reward noise optimisation at test time."""

    form: Form = Field("auto", description="where noise may lie, as for assign")
    patch: Positive = Field(2, description="side p of a patch, in latents")
    optimiser: Optimiser = Field("adam", description="adam or lbfgs, as for assign")
    steps: Count = Field(50, description="steps; for lbfgs an upper limit")
    tolerance: Weight = Field(1e-2, description="stopping tolerance of lbfgs, as for assign")
    lr: Rate = Field(5e-3, description="learning rate of adam")
    drift: Weight = Field(1e-3, description="weight of MSE(z, ε)")
    prior: Weight = Field(0.0, description="weight of KL(moments of z ‖ N(0, 1))")
    batch_size: Positive = Field(4, description="prompts optimised at once")


class Train(Section):
    """The M-step: finetuning on assigned or random noise."""

    lr: Rate = Field(1e-4, description="learning rate of AdamW; published: 1e-4 for GANs, 1e-5 for SDXL Turbo")
    epochs: Positive = Field(5, description="passes over the targets per cycle")
    batch_size: Positive = Field(32, description="targets per update, over all processes")
    latent: Weight = Field(1.0, description="weight of the MSE of latents (of images, for GANs)")
    pixel: Weight = Field(0.1, description="weight of the L1 of pixels")
    preserve_latent: Weight = Field(0.25, description="weight of the MSE to the original model on fresh random noise")
    preserve_pixel: Weight = Field(0.0, description="the same for the L1 of pixels")
    clip: Rate = Field(1.0, description="gradient norm to clip to")
    ema: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.0,
        description="decay of the moving average saved in checkpoints, at most n / (n + 19) at the nth update; 0: none",
    )
    weight_decay: Weight = Field(0.0, description="weight decay of AdamW")
    lora: Lora | None = Field(None, description="train adapters, merged into every checkpoint")


class Data(Section):
    """The targets."""

    kind: Literal[*LABELLED, "pairs"] = Field(BUNDLED, description="a labelled data set, or pairs of image and prompt")
    folder: str | None = Field(
        None,
        description=(
            "folder of the data set's files, by default that of `ttsnap download`; or the root of the pairs' images"
        ),
    )
    file: str | None = Field(None, description="pairs.jsonl of the training targets")
    test_file: str | None = Field(None, description="pairs.jsonl of the held-out targets")
    prompt_field: PromptField
    image_field: ImageField
    split: SplitTaken
    start: First
    limit: Positive | None = Field(256, description="number of targets")
    test_limit: Positive = Field(128, description="largest number of held-out targets")
    shard_size: Positive = Field(256, description="targets per job")

    @model_validator(mode="after")
    def _pairs_have_files(self):
        if self.kind == "pairs" and not (self.file and self.test_file):
            raise ValueError("kind pairs: needs file and test_file")
        return self


class Sft(Section):
    """The second method (`snakemake sft`): assign noise to targets, finetune a one-step generator on it, repeat."""

    model: str | None = Field(
        None, description="one-step pipeline (SDXL Turbo, Hyper-SD 1.5) or GAN folder; null: train a GAN"
    )
    size: Positive | None = Field(None, description="image side in pixels of a pipeline, e.g. 512 for SDXL Turbo")
    data: Data = Field(default_factory=Data, description="targets")
    gan: Gan = Field(default_factory=Gan, description="the GAN")
    assign: Assign = Field(default_factory=Assign, description="E-step")
    train: Train = Field(default_factory=Train, description="M-step")
    cycles: Positive = Field(3, description="rounds of assigning and finetuning")
    ways: list[Noise] = Field(
        ["random", "assigned"],
        description="the noise to finetune on, each for itself; paired: what each target was made from, by the `seed` "
        "in its line of the pairs",
        min_length=1,
    )
    seeds: list[Count] = Field([0, 1, 2], description="seeds of the runs to compare")
    fresh: Fresh
    features: str | None = Field(
        None, description="CLIP folder for comparing image features; null: a classifier trained on the data set"
    )
    checker: Checked

    @model_validator(mode="after")
    def _consistent(self):
        if len(set(self.seeds)) != len(self.seeds) or not self.seeds:
            raise ValueError("seeds: give at least one, each once")
        if len(set(self.ways)) != len(self.ways):
            raise ValueError(f"ways: {self.ways} repeats one; give each once")
        if "paired" in self.ways and self.data.kind != "pairs":
            raise ValueError(f"ways: paired noise needs pairs, whose lines name a seed; data.kind is {self.data.kind}")
        if self.data.kind == "pairs" and not self.model:
            raise ValueError("model: pairs need a one-step pipeline; name it")
        if self.data.kind == "pairs" and not self.features:
            raise ValueError("features: pairs have no classes; name a CLIP folder")
        return self
