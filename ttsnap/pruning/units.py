"""Reporting units of rewards: declared by a reward's class, stored in files with its values."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TypeVar

import numpy as np

Values = TypeVar("Values", float, np.ndarray)


@dataclass(frozen=True)
class Units:
    """A value is reported as (value − shift)·scale and called `label`, or by the reward's name if that is empty."""

    shift: float = 0.0
    scale: float = 1.0
    label: str = ""

    def reported(self, values: Values) -> Values:
        """The values in reporting units."""
        return (values - self.shift) * self.scale

    def before(self, scale: float, shift: float) -> "Units":
        """The units of v, given that these are the units of scale·v + shift."""
        return Units((self.shift - shift) / scale, self.scale * scale, self.label)

    def to_json(self) -> dict:
        """The form in files; `from_json` reads it."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping | None, reward: str) -> "Units":
        """The inverse of `to_json`; units without a label take the reward's name."""
        units = cls(**(values or {}))
        return units if units.label else replace(units, label=reward)


# Units of the raw values that the published code returns, by reward kind; others are reported as they are
REWARD_UNITS = {
    # Mean and deviation of the raw values, Xu et al. 2023 (arXiv 2304.05977)
    "imagereward": Units(0.16717363, 1 / 1.0333395, "normalised ImageReward"),
    "hpsv2": Units(0.0, 100.0, "HPS × 100"),
}
