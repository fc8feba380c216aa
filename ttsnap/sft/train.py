"""The M-step (DESIGN §3): finetune a one-step generator on assigned or random noise, staying near the original."""

import hashlib
import json
import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from ttsnap.errors import TtsnapError
from ttsnap.noise.assign import reconstruction
from ttsnap.rewards.groups import autocast
from ttsnap.sft.generator import Generator, rows
from ttsnap.sft.records import Assigned
from ttsnap.storage.files import replacing
from ttsnap.training.states import read_state
from ttsnap.training.weights import Average, trainable

SAVE_EVERY = 30.0  # seconds between saved states
NOISES = ("assigned", "random")


def plan(samples: int, batch_size: int, epochs: int, seed: int) -> list[list[list[int]]]:
    """For each epoch, the samples of its updates: each sample once, in an order of its own."""
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(samples).tolist() for _ in range(epochs)]
    return [
        [order[at : at + batch_size] for at in range(0, samples, batch_size)] for order in orders
    ]


class Trainer:
    """One finetuning run. `generator` learns in place; `teacher`, the frozen original model, does not.

    settings: the keys of settings.Train. accelerator: of `accelerate`, or None for one process; several processes
    share each batch and end with the weights of one. about: what else a saved state depends on. Weights stay float32;
    products are bfloat16 where that is fast.
    """

    def __init__(
        self,
        generator: Generator,
        teacher: Generator,
        data: Assigned,
        settings: dict,
        *,
        noise: str = "assigned",
        seed: int = 0,
        accelerator=None,
        about: list[str] | None = None,
    ):
        self.about = about or []
        self.generator, self.teacher, self.settings = generator, teacher, settings
        self.noise, self.seed, self.accelerator = noise, seed, accelerator
        self.rank = accelerator.process_index if accelerator else 0
        self.processes = accelerator.num_processes if accelerator else 1
        torch.manual_seed(seed)
        self.parameters = trainable(generator.module, settings["lora"])
        self.optimiser = torch.optim.AdamW(
            self.parameters.values(), lr=settings["lr"], weight_decay=settings["weight_decay"]
        )
        self.average = Average(self.parameters, settings["ema"]) if settings["ema"] else None
        self.assigned, self.data, self.device = data.noise, data, generator.device
        self.condition = generator.embed(data.conditions)
        batches = torch.arange(len(data.keys)).split(settings["batch_size"])
        self.latents = torch.cat([generator.encode(self._pixels(b)).cpu() for b in batches])
        self.preserves = settings["preserve_latent"] > 0 or settings["preserve_pixel"] > 0
        self.identity = self._identity(data)

    def run(
        self, state: Path | None = None, on_epoch: Callable[[list[float]], None] | None = None
    ) -> dict:
        """Train all epochs; returns the losses of every update: {"total", "fit", "preserve"}.

        state: where progress is kept; a run that was killed goes on from it and ends with the same weights.
        on_epoch(means), means being the mean loss of each epoch so far, is called after each, with the weights to keep
        in place. Raises TtsnapError for a loss that is not finite.
        """
        epochs = plan(
            len(self.data.keys), self.settings["batch_size"], self.settings["epochs"], self.seed
        )
        history, update, saved = self._restore(state), 0, time.monotonic()
        done = len(history["total"])
        bar = tqdm(
            total=sum(map(len, epochs)), initial=done, desc="sft", mininterval=5, disable=self.rank
        )
        for epoch, batches in enumerate(epochs):
            for batch in batches:
                update += 1
                if update <= done:
                    continue
                for name, value in self._update(update, batch).items():
                    history[name].append(value)
                bar.update()
                due = time.monotonic() - saved > SAVE_EVERY and batch is not batches[-1]
                if state and self.rank == 0 and due:
                    self._save(state, history)
                    saved = time.monotonic()
            if self.rank == 0 and (update > done or update == done == bar.total):
                means = np.array(history["total"]).reshape(epoch + 1, -1).mean(1).tolist()
                with self.average.in_place() if self.average else nullcontext():
                    if on_epoch:
                        on_epoch(means)
                if state:
                    self._save(state, history)
        bar.close()
        return history

    def _update(self, update: int, batch: list[int]) -> dict[str, float]:
        """One optimiser step on this process's share of the batch; the losses of the whole batch."""
        mine = list(range(len(batch)))[self.rank :: self.processes]
        self.optimiser.zero_grad(set_to_none=True)
        sums = torch.zeros(2, device=self.device)
        if mine:
            sums = self._losses(update, batch, mine)
            (sums.sum() / len(batch)).backward()
        self._share_gradients()
        values = self._shared(sums.detach() / len(batch)).tolist()
        if not all(map(math.isfinite, values)):
            raise TtsnapError(f"loss is {sum(values)} at update {update}; lower the learning rate")
        torch.nn.utils.clip_grad_norm_(self.parameters.values(), self.settings["clip"])
        self.optimiser.step()
        if self.average:
            self.average.update()
        return {"total": sum(values), "fit": values[0], "preserve": values[1]}

    def _losses(self, update: int, batch: list[int], mine: list[int]) -> torch.Tensor:
        """Sums over my samples: [fit, preserve]. Random noise is drawn for the whole batch, then shared out."""
        settings, chosen = self.settings, [batch[n] for n in mine]
        condition = rows(self.condition, chosen)
        fresh = self._draw(update, 0, len(batch))[mine]
        noise = self.assigned[chosen] if self.noise == "assigned" else fresh
        images, latents = self._pixels(chosen), self.latents[chosen].to(self.device)
        weights = settings["latent"], settings["pixel"]
        with autocast(self.device):
            fit = reconstruction(
                self.generator, noise.to(self.device), condition, latents, images, *weights
            ).sum()
            preserve = torch.zeros_like(fit)
            if self.preserves:
                random = self._draw(update, 1, len(batch))[mine].to(self.device)
                preserve = self._preserve(random, condition)
        return torch.stack([fit, preserve])

    def _pixels(self, chosen) -> torch.Tensor:
        """The targets of these rows; all at once as float would take four times the memory of the dataset."""
        return self.data.pixels(chosen).to(self.device)

    def _preserve(self, noise: torch.Tensor, condition) -> torch.Tensor:
        """w·MSE/L1 between student and the frozen original on the same random noise, summed."""
        with torch.no_grad():
            latents = self.teacher.latents(noise, condition)
            pixels = self.teacher.pixels(latents) if self.settings["preserve_pixel"] else latents
        weights = self.settings["preserve_latent"], self.settings["preserve_pixel"]
        return reconstruction(self.generator, noise, condition, latents, pixels, *weights).sum()

    def _draw(self, update: int, which: int, count: int) -> torch.Tensor:
        """Gaussian noise [count, …] of one update: a function of the seed, the update and its use alone."""
        seed = int(np.random.SeedSequence([self.seed, update, which]).generate_state(1)[0])
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(count, *self.generator.noise_shape, generator=generator)

    def _share_gradients(self) -> None:
        """Sum the gradients over the processes."""
        for value in self.parameters.values():
            if value.grad is None:
                value.grad = torch.zeros_like(value)
        if self.processes > 1:
            flat = torch.cat([value.grad.flatten() for value in self.parameters.values()])
            parts = self._shared(flat).split([value.numel() for value in self.parameters.values()])
            for value, part in zip(self.parameters.values(), parts, strict=True):
                value.grad.copy_(part.view_as(value))

    def _shared(self, tensor: torch.Tensor) -> torch.Tensor:
        """The sum over the processes."""
        return self.accelerator.reduce(tensor, "sum") if self.processes > 1 else tensor

    def _identity(self, data: Assigned) -> str:
        """What a saved state belongs to: weights, targets, noise and settings."""
        versions = [self.generator.version, self.teacher.version, *self.about]
        settings = [self.settings, self.noise, self.seed, versions, data.keys]
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
        digest.update(data.noise.numpy().tobytes())
        for value in self.parameters.values():
            digest.update(value.detach().cpu().numpy().tobytes())
        return digest.hexdigest()

    def _save(self, state: Path, history: dict) -> None:
        with replacing(state) as temporary:
            values = {name: value.detach() for name, value in self.parameters.items()}
            about = {"identity": self.identity, "optimiser": self.optimiser.state_dict()}
            average = self.average.values if self.average else {}
            torch.save(
                about | {"values": values, "average": average, "history": history}, temporary
            )

    def _restore(self, state: Path | None) -> dict[str, list[float]]:
        """Go on from a saved state when it belongs to this very run; returns the losses so far."""
        history = {"total": [], "fit": [], "preserve": []}
        parts = ("values", "average", "optimiser", "history")
        saved = read_state(state, self.identity, parts, self.parameters, self.device)
        if saved is None:
            return history
        with torch.no_grad():
            for name, value in saved["values"].items():
                self.parameters[name].copy_(value)
        self.optimiser.load_state_dict(saved["optimiser"])
        if self.average:
            self.average.values = saved["average"]
        return saved["history"]
