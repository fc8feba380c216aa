"""The options that name a reward, or several."""

from typing import Annotated

from pydantic import Field

from ttsnap.commands.options import READ, InFile, Pairs, from_yaml
from ttsnap.errors import BadInput
from ttsnap.rewards.registry import check_options
from ttsnap.settings.section import Section


class NamedReward(Section):
    """A kind of reward and its name."""

    kind: str = Field(description="reward kind: pickscore, aesthetic, or module:Class")
    name: str | None = Field(None, description="name of the reward; default: its kind")

    @property
    def called(self) -> str:
        """The reward's name, or its kind."""
        return self.name or self.kind


class ForReward(NamedReward):
    """The reward to read images with."""

    option: Pairs = Field({}, description="option KEY=VALUE of the reward, e.g. path=embedded:shapes-clip; repeatable")


class RewardOfLevels(NamedReward):
    """A reward with its level checkpoints, as the value of --reward."""

    options: Annotated[dict[str, str | int | float | bool], READ] = {}
    checkpoints: list[InFile] = []


class ForRewards(ForReward):
    """The rewards of a search, with their level checkpoints."""

    checkpoint: list[InFile] = Field([], description="level checkpoint of the reward; repeatable")
    reward: list[Annotated[RewardOfLevels, from_yaml(RewardOfLevels, "{kind: …, options: {…}}")]] = Field(
        [],
        description="a further reward, as YAML with kind, name, options and checkpoints, e.g. "
        '"{kind: clip, options: {path: embedded:shapes-clip}}"; repeatable; several are combined by their rank sum',
    )

    @property
    def rewards(self) -> list[RewardOfLevels]:
        """All rewards, that of --kind first."""
        first = {"options": self.option, "checkpoints": self.checkpoint}
        return [RewardOfLevels(kind=self.kind, name=self.name, **first), *self.reward]


def check_reward(options: ForReward) -> None:
    """Raise BadInput, without importing the reward, for an unknown kind or option."""
    check_options(options.kind, options.option, "--kind", "--option ")


def check_rewards(options: ForRewards) -> None:
    """Check several rewards in the same way; their names must differ."""
    check_reward(options)
    for reward in options.reward:
        check_options(reward.kind, reward.options, "--reward: kind", "--reward: options.")
    names = [reward.called for reward in options.rewards]
    if len(set(names)) < len(names):
        raise BadInput(f"--name: two rewards are called the same in {names}; name one otherwise")


def open_reward(options: ForReward, device: str):
    """The reward that the options name."""
    from ttsnap.rewards.base import load_reward

    check_reward(options)
    return load_reward(options.kind, device=device, **options.option)
