"""The first method's jobs, as its rules ask for them: shards of prompts, words of command lines, digests.

A rule's params hold the config leaves it uses, a digest of the code behind it, and for a shard the digest of its
prompts. Nothing else makes it run again: no file time of a config or prompt file, no unrelated key.
"""

import functools
import hashlib
import json
import shlex
from collections.abc import Iterable

from ttsnap.commands.reward_options import ForReward
from ttsnap.models import resolve, weights_digest
from ttsnap.pruning.schedule import REAL_METHODS, as_look
from ttsnap.rewards.registry import identity, reward_module
from ttsnap.settings.command_line import arguments
from ttsnap.settings.config import Config
from ttsnap.shapes.checkers import CHECKERS
from ttsnap.storage import code_digest
from ttsnap.storage.code_digest import PACKAGE
from ttsnap.storage.prompts import shards
from ttsnap.workflow.checks import check_files, config_prompts
from ttsnap.workflow.reference import reference_tensors

SPLITS = ("train", "validation", "test")
code = functools.cache(code_digest.code)  # asked for by every job


class Plan:
    """What a config asks for. Raises BadInput, naming the key, for a file that is missing or bad.

    `w` in its methods: the wildcards of a rule. Words of a command line are given as one text, quoted for the shell;
    a rule takes them by a function, as braces in a plain text are wildcards to Snakemake.
    """

    def __init__(self, config: Config):
        check_files(config)
        self.config = config
        self.shards = {
            split: shards(config_prompts(config, split), getattr(config.prompts, split).shard_size) for split in SPLITS
        }
        decoder = config.looks.decoder
        self.reference = reference_tensors(config)
        self.weights = [weights_digest(config.model.path), *([weights_digest(decoder)] if decoder else [])]
        self.draft_weights = {
            name: [weights_digest(file) for file in (draft.model, draft.lora) if file]
            for name, draft in config.drafts.items()
        }
        self.reward_weights = {name: identity(reward.kind, reward.options) for name, reward in config.rewards.items()}
        self.fits = config.simulate.schedule == "fit"
        self.pruned_by = [*config.rewards, *(["all"] if len(config.rewards) > 1 else [])]
        self.last_step = config.model.steps - 1

    # prompts and images

    def prompts(self, w):
        """The config of a split's prompts."""
        return getattr(self.config.prompts, w.split)

    def numbers(self, split: str) -> list[str]:
        """The numbers of a split's shards, as they stand in file names."""
        return [f"{number:04d}" for number in range(len(self.shards[split]))]

    def count(self, split: str) -> int:
        """How many prompts a split has."""
        return sum(map(len, self.shards[split]))

    def shard_digest(self, w) -> str:
        """What a shard holds: the text of its prompts."""
        text = "\0".join(self.shards[w.split][int(w.shard)])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def shard_end(self, w) -> int:
        """How many prompts its set has up to the end of a shard, which the set's limit may cut."""
        shard = int(w.shard)
        return shard * self.prompts(w).shard_size + len(self.shards[w.split][shard])

    def model(self, w) -> str:
        """The words that name the model and say how it is sampled, and how looks are decoded."""
        sampling = arguments(self.config.model, leave_out=["preset", "path"])
        decoder = self.config.looks.decoder
        return shlex.join(
            ["--model", self.config.model.path, *sampling, *(["--look-decoder", decoder] if decoder else [])]
        )

    def kept_steps(self, w) -> str:
        """The words of the steps whose images are kept: of training prompts those that are learned from, else all."""
        every = range(self.last_step + 1)
        kept = [*reversed(self.config.level_steps), self.last_step] if w.split == "train" else every
        return "--keep-steps " + ",".join(map(str, kept))

    def drafts_of(self, split: str) -> list[str]:
        """The drafts that are made of a split's prompts: of training prompts those that are learned from, else all."""
        return self.config.level_drafts if split == "train" else list(self.config.drafts)

    def draft_words(self, names: Iterable[str]) -> str:
        """The words of some drafts."""
        drafts = {name: self.config.drafts[name].model_dump(exclude_defaults=True) for name in names}
        return shlex.join(
            word for name, about in drafts.items() for word in ("--draft", json.dumps({"name": name, **about}))
        )

    def images_mb(self, images: int) -> int:
        """MB that so many images of the model take when they are held at once."""
        return images * self.config.model.height * self.config.model.width * 3 // 10**6

    def level_mb(self) -> int:
        """MB of the images that one level's training holds: those of its step."""
        splits = ("train", "validation")
        sizes = {split: getattr(self.config.prompts, split).candidates for split in splits}
        return self.images_mb(sum(self.count(split) * size for split, size in sizes.items()))

    def prompt_mb(self) -> int:
        """MB of the images that generation holds, in two copies: all steps of one prompt's candidates."""
        most = max(getattr(self.config.prompts, split).candidates for split in SPLITS)
        return self.images_mb(2 * self.config.model.steps * most)

    # rewards and levels

    def reward(self, w) -> str:
        """The words that name a reward."""
        reward = self.config.rewards[w.reward]
        options = {key: str(value) for key, value in reward.options.items()}
        return shlex.join(arguments(ForReward(kind=reward.kind, name=w.reward, option=options)))

    def reward_made_from(self, w) -> dict:
        """What a reward is made with, its files by content."""
        return self.reward_weights[w.reward]

    def reward_code(self, command: str):
        """Params function: a digest of the code behind a command that reads images with the reward."""
        module = f"ttsnap.commands.{command}"
        return lambda w: code(module, reward_module(self.config.rewards[w.reward].kind))

    def level_before(self, w) -> int | None:
        """The level that a level starts from; None for drafts and the cleanest step, which start from the base."""
        steps, level = self.config.level_steps, as_look(w.level)
        place = steps.index(level) if level in steps else 0
        return steps[place - 1] if place else None

    def level_start(self, w) -> str | None:
        """The checkpoint that the config names for a level to start from."""
        start = self.config.rewards[w.reward].finetune.start
        return start and resolve(start.replace("{level}", w.level))

    def level_start_digest(self, w) -> str | None:
        """What it holds."""
        return (start := self.level_start(w)) and weights_digest(start)

    def level_settings(self, w) -> str:
        """The words of a reward's finetuning settings at one level."""
        return shlex.join(arguments(self.config.rewards[w.reward].finetune.at(as_look(w.level))))

    def checker_code(self) -> str:
        """A digest of the code of the checker; none where there is no checker."""
        if not self.config.checker:
            return ""
        return code("ttsnap.commands.check", CHECKERS[self.config.checker])

    # simulation and search

    def budgets(self) -> str:
        """The words of the budgets that are simulated."""
        budgets = self.config.simulate.budgets
        return f"{budgets.first}:{budgets.last}:{budgets.step} --budgets-in {budgets.unit}"

    def fitted_on(self) -> str:
        """The words of the validation prompts that schedules are fitted on, and of those that the fit is tried on."""
        given = [tensor for (split, _), (_, tensor) in self.reference.items() if split == "validation"]
        there = min((len(tensor.prompts) for tensor in given), default=self.count("validation"))
        fitted = max(1, int(there * self.config.simulate.fit_share))
        return f"--fit-prompts 0:{fitted} --test-prompts {min(fitted, there - 1)}:{there}"

    def fit_accounting(self) -> str:
        """How fits count the cost of a schedule: by default, of exact accounting, in whole survivors."""
        simulate = self.config.simulate
        return simulate.fit_accounting or simulate.accounting

    def fitted_methods(self) -> list[str]:
        """The methods that have a schedule of their own; TTSnap without drafts beside it, where there are any."""
        return ["ttsnap", "ttsp", *(["ttsnap_steps"] if self.config.drafts else [])]

    def tensors_of(self, w) -> list[str]:
        """The rewards that a simulation prunes by."""
        return list(self.config.rewards) if w.pruned_by == "all" else [w.pruned_by]

    def schedule_of(self, w) -> str:
        """The reward whose fitted schedule a simulation takes: the first, when it prunes by all."""
        return self.tensors_of(w)[0]

    def fixed_schedule(self) -> str:
        """The words of the config's own schedule, which may have no look at all; "" where it is fitted."""
        if self.fits:
            return ""
        schedule = self.config.simulate.schedule
        looks, keep = (",".join(map(str, values)) for values in (schedule.looks, schedule.keep))
        return shlex.join(["--looks", looks, "--keep", keep])

    def searched(self) -> int:
        """How many of the test prompts are searched."""
        return min(self.config.search.prompts or self.count("test"), self.count("test"))

    def search_limit(self, w) -> int:
        """How many prompts of a shard are searched."""
        before = int(w.shard) * self.config.prompts.test.shard_size
        return min(len(self.shards["test"][int(w.shard)]), self.searched() - before)

    def searches(self) -> dict[str, list]:
        """The methods, budgets and shards of a reward's real searches."""
        shards_searched = -(-self.searched() // self.config.prompts.test.shard_size)
        return {
            "search_method": list(REAL_METHODS),
            "budget": [f"{budget:g}" for budget in self.config.search.budgets],
            "shard": self.numbers("test")[:shards_searched],
        }

    def search_code(self, w) -> str:
        """A digest of the code behind a search: the reward's and the checker's modules are named at run time."""
        checker = [CHECKERS[self.config.checker]] if self.config.checker else []
        kind = self.config.rewards[w.reward].kind
        return code("ttsnap.commands.search", reward_module(kind), *checker)

    # report

    def reference_path(self, split: str, reward: str) -> str:
        """The file of a reference tensor; split: reference_validation or reference_test."""
        return str(self.reference[split.removeprefix("reference_"), reward][0])

    def reference_digests(self, split: str, rewards: Iterable[str]) -> list[str]:
        """What reference tensors hold; [] for a split of the run's own."""
        return [
            self.reference[split.removeprefix("reference_"), reward][1].digest()
            for reward in rewards
            if split.startswith("reference_")
        ]

    def gallery_shards(self) -> list[str]:
        """The shards that the first prompts of the test set are in."""
        shards_shown = -(-self.config.report.gallery // self.config.prompts.test.shard_size)
        return self.numbers("test")[:shards_shown]


def report_code(command: str = "report") -> str:
    """A digest of the code and the templates behind the report."""
    pages = b"".join(path.read_bytes() for path in sorted(PACKAGE.glob("report/*.html")))
    return code(f"ttsnap.commands.{command}") + hashlib.sha256(pages).hexdigest()[:16]


def named_inputs(wildcards, input) -> str:
    """Params function: a rule's named inputs as options of those names; what a rule has none of is left out."""
    given = {name: files for name, files in input.items() if files}
    return " ".join(f"--{name.replace('_', '-')} {files}" for name, files in given.items())
