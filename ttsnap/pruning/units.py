"""The units in which rewards are reported; they come with a reward's class and travel with its values in files."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TypeVar

import numpy as np

Values = TypeVar("Values", float, np.ndarray)


@dataclass(frozen=True)
class Units:
    """A value is reported as (value − shift)·scale, and called `label`; "" for the reward's own name."""

    shift: float = 0.0
    scale: float = 1.0
    label: str = ""

    def reported(self, values: Values) -> Values:
        """The values as reports show them."""
        return (values - self.shift) * self.scale

    def before(self, scale: float, shift: float) -> "Units":
        """The units of values v where these are the units of scale·v + shift."""
        return Units((self.shift - shift) / scale, self.scale * scale, self.label)

    def to_json(self) -> dict:
        """What `from_json` reads."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping | None, reward: str) -> "Units":
        """The units written in a file, with the reward's name where they have none of their own."""
        found = cls(**(values or {}))
        return found if found.label else cls(found.shift, found.scale, reward)


# Of the raw values that the published codes return, by reward kind; others are reported as they are.
REWARD_UNITS = {
    # Xu et al. 2023 (arXiv 2304.05977): mean and deviation of the raw values.
    "imagereward": Units(0.16717363, 1 / 1.0333395, "normalised ImageReward"),
    "hpsv2": Units(0.0, 100.0, "HPS × 100"),
}
