"""The second method's jobs, as its rules ask for them: targets and their shards, models and where they come from."""

import functools
import shlex
from collections.abc import Callable

from ttsnap.models import weights_digest
from ttsnap.settings.command_line import arguments
from ttsnap.settings.datasets import LABELLED
from ttsnap.settings.section import Section
from ttsnap.settings.sft import Sft
from ttsnap.sft.digests import data_digest, pair_lines, pairs_digest
from ttsnap.shapes.checkers import CHECKERS
from ttsnap.workflow.plan import code

RUN = "results/sft/runs/{seed}"


class SftPlan:
    """What the `sft` section of a config asks for.

    refuse: makes the error to raise of a message that begins with the key at fault. `w`: the wildcards of a rule.
    """

    def __init__(self, settings: Sft, refuse: Callable[[str], Exception]):
        self.settings, self.refuse = settings, refuse
        self.extent = functools.cache(self._extent)
        self.digest = functools.cache(self._digest)

    # targets

    def pairs_file(self, part: str) -> str:
        """The pairs file of the training or of the held-out targets."""
        return self.settings.data.file if part == "train" else self.settings.data.test_file

    def _extent(self, part: str) -> tuple[str, int, int]:
        """(split, first target, how many) of the training or of the held-out targets."""
        data, held_out = self.settings.data, part == "test"
        split = "test" if held_out else data.split
        first = 0 if held_out else data.start
        if held_out and data.split == "test" and data.kind != "pairs":
            first = data.start + (data.limit or 0)  # behind the training ones
        if data.kind == "pairs":
            there = len(pair_lines(self.pairs_file(part)))
        else:
            there = LABELLED[data.kind].sizes[split]
        wanted = (data.test_limit if held_out else data.limit) or there
        count = max(0, min(there - first, wanted))
        if not count:
            raise self.refuse(f"sft.data: leaves no {part} target")
        return split, first, count

    def shards(self) -> list[str]:
        """The numbers of the shards of training targets, as they stand in file names."""
        count = -(-self.extent("train")[2] // self.settings.data.shard_size)
        return [f"{number:04d}" for number in range(count)]

    def selection(self, part: str, shard: int | None = None) -> tuple[str, int, int]:
        """(split, first target, how many) of a part, or of one shard of it.

        Without a shard: of the training targets as many as are held out.
        """
        data, (split, first, count) = self.settings.data, self.extent(part)
        if shard is None:
            return split, first, min(count, data.test_limit)
        before = shard * data.shard_size
        return split, first + before, min(data.shard_size, count - before)

    def targets(self, part: str, shard: int | None = None) -> str:
        """The words that name the targets of a part, or of one shard of it."""
        data, (split, first, count) = self.settings.data, self.selection(part, shard)
        where = f"--start-index {first} --limit {count}"
        if data.kind != "pairs":
            return f"{self.data()} --split {split} {where}"
        words = ["--pairs", self.pairs_file(part)]
        words += ["--data-root", data.folder] if data.folder else []
        words += ["--prompt-field", data.prompt_field, "--image-field", data.image_field]
        return f"{shlex.join(words)} {where}"

    def data(self, w=None) -> str:
        """The words that name a labelled data set; none for pairs."""
        data = self.settings.data
        if data.kind == "pairs":
            return ""
        folder = ["--folder", data.folder] if data.folder else []
        return shlex.join(["--data", data.kind, *folder])

    def _digest(self, part: str, shard: int | None = None) -> str:
        """What those targets are, by content."""
        data, (split, first, count) = self.settings.data, self.selection(part, shard)
        if data.kind != "pairs":
            return data_digest(data.kind, data.folder, split)
        fields = data.prompt_field, data.image_field
        return pairs_digest(self.pairs_file(part), data.folder, *fields, first, count)

    def data_digest(self, *splits: str) -> list[str]:
        """What splits of a labelled data set are, by content; pairs have none."""
        data = self.settings.data
        if data.kind == "pairs":
            return []
        return [data_digest(data.kind, data.folder, split) for split in splits]

    # models

    def model(self, seed, way: str, cycle) -> str:
        """The generator that a way of training has after a cycle; after cycle 0 the original one."""
        if way == "base" or int(cycle) == 0:
            return self.settings.model or f"results/sft/gan/{seed}"
        return f"results/sft/runs/{seed}/{way}/{cycle}/checkpoint-final"

    def model_file(self, seed, way: str, cycle) -> list[str]:
        """The file that says that this generator is there."""
        if way == "base" or int(cycle) == 0:
            there = f"results/sft/gan/{seed}/generator.safetensors"
            return [] if self.settings.model else [there]
        return [f"results/sft/runs/{seed}/{way}/{cycle}/train_summary.json"]

    def weights(self, w=None) -> list[str]:
        """A digest of the weights that the config names."""
        named = (self.settings.model, self.settings.features)
        return [weights_digest(path) for path in named if path]

    def compared(self) -> list[tuple[str, int]]:
        """Every generator that is compared: (way, cycle)."""
        cycles = range(1, self.settings.cycles + 1)
        return [("base", 0)] + [(way, cycle) for way in self.settings.ways for cycle in cycles]

    def judge(self, classifier: str) -> str:
        """The words that name the judge of generated images: a CLIP, or the classifier of a labelled data set."""
        features = self.settings.features
        return shlex.join(["--features", features] if features else ["--classifier", str(classifier)])

    def compare_code(self) -> str:
        """A digest of the code behind a comparison: the checker's module is named at run time."""
        checker = self.settings.checker
        return code("ttsnap.commands.compare_sft", *([CHECKERS[checker]] if checker else []))

    def size(self) -> str:
        """The words of the image side of a pipeline."""
        return f"--size {self.settings.size}" if self.settings.size else ""


def as_options(section: Section) -> Callable:
    """Params function: a section of the config as options."""
    return lambda w: shlex.join(arguments(section))
