"""The M-step: finetune a one-step generator on assigned or random noise, staying near the original model."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch

from ttsnap.errors import BadInput
from ttsnap.noise.assign import reconstruction
from ttsnap.rewards.groups import autocast
from ttsnap.settings.sft import Noise
from ttsnap.sft.generator import Condition, Generator, rows
from ttsnap.sft.generators import load_generator
from ttsnap.sft.records import Assigned, read_assigned
from ttsnap.storage.provenance import check_same
from ttsnap.training.processes import ALONE, Processes
from ttsnap.training.run import TrainingRun, run_identity
from ttsnap.training.weights import Average, merged, trainable


def finetune_generator(
    manifests: Sequence[str | Path],
    model: str,
    teacher: str,
    out: str | Path,
    settings: dict,
    *,
    size: int | None = None,
    noise: Noise = "assigned",
    seed: int = 0,
    every_epoch: bool = False,
    state: str | Path | None = None,
    device: str = "cpu",
    processes: Processes = ALONE,
    about: Sequence[str] = (),
) -> dict:
    """Finetune `model` on assigned datasets and write its checkpoints; returns the summary of the training.

    teacher: the original model. out: the folder for checkpoint-best (the epoch of least loss), -final and, with
    every_epoch, -epoch-NNN. The other arguments are those of `Trainer`. Raises BadInput when models and datasets do
    not match.
    """
    data = read_assigned(manifests)
    student = load_generator(model, size=size, device=device)
    if noise == "assigned":
        again = "assign noise for this very model, or take --noise random"
        check_same(manifests[0], data.made_from, model, {"model": student.version}, again, only=("model",))
    if noise == "paired" and (unknown := data.seeds.count(None)):
        raise BadInput(
            f"--noise paired: {unknown} of {len(data.seeds)} targets have no seed in their line of the pairs, so that"
            " the noise they were made from is not known"
        )
    original = load_generator(teacher, size=size, device=device)
    shape = tuple(data.noise.shape[1:])
    if not student.noise_shape == original.noise_shape == shape:
        raise BadInput(
            f"--model: makes images of noise {student.noise_shape}, the manifests hold {shape},"
            f" the teacher takes {original.noise_shape}"
        )
    version = student.version  # before its weights change
    trainer = Trainer(student, original, data, settings, noise=noise, seed=seed, processes=processes, about=about)

    def write_checkpoints(means: list[float]) -> None:
        names = ["best"] if means[-1] == min(means) else []
        names += [f"epoch-{len(means):03d}"] if every_epoch else []
        names += ["final"] if len(means) == settings["epochs"] else []
        with merged(student.module):
            for name in names:
                student.save(Path(out) / f"checkpoint-{name}")

    history = trainer.run(state, write_checkpoints)
    means = epoch_means(history["total"], settings["epochs"])
    return {
        "noise": noise,
        "samples": len(data.keys),
        "updates": len(history["total"]),
        "processes": processes.count,
        "settings": settings,
        "seed": seed,
        "model": version,
        "teacher": original.version,
        "epoch_loss": means,
        "best_epoch": means.index(min(means)) + 1,
        "history": history,
    }


def epoch_means(losses: list[float], epochs: int) -> list[float]:
    """The mean loss of each epoch, from the loss of each update."""
    return np.array(losses).reshape(epochs, -1).mean(1).tolist()


def batches(samples: int, batch_size: int, epochs: int, seed: int) -> list[list[int]]:
    """The samples of every update: each sample once an epoch, shuffled anew for each epoch."""
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(samples).tolist() for _ in range(epochs)]
    return [order[at : at + batch_size] for order in orders for at in range(0, samples, batch_size)]


class Trainer:
    """Finetunes `generator` in place; `teacher`, the original model, stays frozen.

    settings: the keys of `settings.sft.Train`. processes: they share each batch; the result is that of one process.
    about: what else the weights depend on. Weights stay float32; products are bfloat16 where that is fast.
    """

    def __init__(
        self,
        generator: Generator,
        teacher: Generator,
        data: Assigned,
        settings: dict,
        *,
        noise: Noise = "assigned",
        seed: int = 0,
        processes: Processes = ALONE,
        about: Sequence[str] = (),
    ):
        self.generator, self.teacher, self.data = generator, teacher, data
        self.settings, self.noise, self.seed = settings, noise, seed
        self.processes, self.about, self.device = processes, about, generator.device
        torch.manual_seed(seed)
        self.parameters = trainable(generator.module, settings["lora"])
        self.average = Average(self.parameters, settings["ema"]) if settings["ema"] else None
        self.fixed_noise = {"assigned": data.noise, "paired": data.base}.get(noise)
        self.condition = generator.embed(data.conditions)
        parts = torch.arange(len(data.keys)).split(settings["batch_size"])
        self.latents = torch.cat([generator.encode(self._pixels(part)).cpu() for part in parts])
        self.preserves = settings["preserve_latent"] > 0 or settings["preserve_pixel"] > 0

    def run(
        self, state: str | Path | None = None, on_epoch: Callable[[list[float]], None] | None = None
    ) -> dict[str, list[float]]:
        """Train all epochs; returns the losses of every update: {"total", "fit", "preserve"}.

        state: where progress is kept (see `TrainingRun`). on_epoch(means): called in the first process after each
        epoch with the mean loss of each epoch so far, while the generator holds the weights to keep. Raises
        TtsnapError for a loss that is not finite.
        """
        epochs = self.settings["epochs"]
        plan = batches(len(self.data.keys), self.settings["batch_size"], epochs, self.seed)
        optimiser = torch.optim.AdamW(
            self.parameters.values(), lr=self.settings["lr"], weight_decay=self.settings["weight_decay"]
        )
        run = TrainingRun(
            "sft",
            self.parameters,
            optimiser,
            self._identity(),
            clip=self.settings["clip"],
            average=self.average,
            state=state,
            processes=self.processes,
        )
        per_epoch = len(plan) // epochs

        def end_epoch() -> None:
            if on_epoch and self.processes.first:
                totals = [sum(losses) for losses in run.history]
                with self.average.in_place() if self.average else nullcontext():
                    on_epoch(epoch_means(totals, len(totals) // per_epoch))
            run.save()

        if len(run.history) == len(plan):  # killed after its last update
            end_epoch()
        for number, batch in run.remaining(plan):
            run.update(self._losses, number, batch)
            if number % per_epoch == 0:
                end_epoch()
        fit, preserve = map(list, zip(*run.history, strict=True))
        return {"total": [sum(losses) for losses in run.history], "fit": fit, "preserve": preserve}

    def _losses(self, number: int, batch: list[int]) -> torch.Tensor:
        """Add the gradients of this process's share of an update; returns its share of the losses, [fit, preserve]."""
        mine = slice(self.processes.rank, None, self.processes.count)
        chosen = batch[mine]
        if not chosen:
            return torch.zeros(2, device=self.device)
        condition = rows(self.condition, chosen)
        # Random noise is drawn for the whole batch, so that it does not depend on the number of processes.
        fixed = self.fixed_noise
        noise = self._draw(number, 0, len(batch))[mine] if fixed is None else fixed[chosen]
        images, latents = self._pixels(chosen), self.latents[chosen].to(self.device)
        weights = self.settings["latent"], self.settings["pixel"]
        with autocast(self.device):
            fit = reconstruction(self.generator, noise.to(self.device), condition, latents, images, *weights).sum()
            preserve = torch.zeros_like(fit)
            if self.preserves:
                preserve = self._preserve(self._draw(number, 1, len(batch))[mine].to(self.device), condition)
        ((fit + preserve) / len(batch)).backward()
        return torch.stack([fit, preserve]).detach() / len(batch)

    def _pixels(self, chosen) -> torch.Tensor:
        """The targets of some rows; as float32 all of them would take four times the memory of the dataset."""
        return self.data.pixels(chosen).to(self.device)

    def _preserve(self, noise: torch.Tensor, condition: Condition) -> torch.Tensor:
        """w·MSE/L1 between student and the frozen original on the same random noise, summed."""
        with torch.no_grad():
            latents = self.teacher.latents(noise, condition)
            pixels = self.teacher.pixels(latents) if self.settings["preserve_pixel"] else latents
        weights = self.settings["preserve_latent"], self.settings["preserve_pixel"]
        return reconstruction(self.generator, noise, condition, latents, pixels, *weights).sum()

    def _draw(self, number: int, use: int, count: int) -> torch.Tensor:
        """Gaussian noise [count, …] of one update: a function of the seed, the update and its use alone."""
        seed = int(np.random.SeedSequence([self.seed, number, use]).generate_state(1)[0])
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(count, *self.generator.noise_shape, generator=generator)

    def _identity(self) -> str:
        """What a saved state belongs to: weights, targets, noise and settings."""
        versions = [self.generator.version, self.teacher.version, *self.about]
        depends_on = [self.settings, self.noise, self.seed, versions, self.data.keys]
        return run_identity(self.parameters, depends_on, self.data.noise.numpy())
