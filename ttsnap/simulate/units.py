"""The units in which rewards are reported (DESIGN §3 Monte Carlo); files hold raw values."""

UNITS = {  # reward name begins with: (shift, scale, label); reported = (value − shift)·scale
    "imagereward": (0.16717363, 1 / 1.0333395, "normalised ImageReward"),
    "hps": (0.0, 100.0, "HPS × 100"),
}


def reporting_units(reward: str) -> tuple[float, float, str]:
    """(shift, scale, label) of a reward; most are reported as they are."""
    for name, unit in UNITS.items():
        if reward.lower().startswith(name):
            return unit
    return 0.0, 1.0, reward
