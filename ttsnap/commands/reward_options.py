"""The options that name a reward."""

from pydantic import Field

from ttsnap.commands.options import Pairs
from ttsnap.rewards.registry import check_options
from ttsnap.settings.section import Section


class ForReward(Section):
    """The reward that a command reads images with."""

    kind: str = Field(description="reward kind: pickscore, aesthetic, or module:Class")
    option: Pairs = Field(
        {},
        description="KEY=VALUE that the reward takes, e.g. path=embedded:shapes-clip; repeatable",
    )
    name: str | None = Field(None, description="what the reward is called; its kind if not given")

    @property
    def called(self) -> str:
        """The reward's name, or its kind."""
        return self.name or self.kind


def check_reward(options: ForReward) -> None:
    """Raise BadInput, having imported nothing, where kind or options cannot be."""
    check_options(options.kind, options.option, "--kind", "--option ")


def open_reward(options: ForReward, device: str):
    """The reward that the options name."""
    from ttsnap.rewards.base import load_reward

    check_reward(options)
    return load_reward(options.kind, device=device, **options.option)
