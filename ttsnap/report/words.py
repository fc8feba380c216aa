"""Numbers and names as the report prints them."""

import math
from collections.abc import Iterable

from ttsnap.pruning.schedule import Schedule, look_name

METHOD_NAMES = {
    "best_of_n": "best-of-N",
    "ttsp": "TTSp",
    "ttsnap": "TTSnap",
    "ttsnap_steps": "TTSnap without drafts",
    "random": "random pruning",
}
PREFIXES = {"PFLOP": 1e-3, "TFLOP": 1.0, "GFLOP": 1e3, "MFLOP": 1e6}


def method_name(method: str) -> str:
    """The display name of a method."""
    return METHOD_NAMES.get(method, method)


def flop_unit(tflop: float) -> tuple[str, float]:
    """The unit in which a cost in TFLOP reads best, and its number per TFLOP."""
    fitting = (unit for unit, factor in PREFIXES.items() if abs(tflop) * factor >= 1)
    unit = next(fitting, "MFLOP")
    return unit, PREFIXES[unit]


def flop(tflop: float) -> str:
    """0.0123 → "12.3 GFLOP"."""
    unit, factor = flop_unit(tflop)
    value = tflop * factor
    return f"{value:.0f} {unit}" if value >= 1000 else f"{value:#.3g}".rstrip(".") + f" {unit}"


def decimals(values: Iterable[float | None]) -> int:
    """The decimals that tell values apart: three significant digits of their range."""
    known = [value for value in values if value is not None and math.isfinite(value)]
    spread = max(known) - min(known) if known else 0
    return min(6, max(0, 2 - math.floor(math.log10(spread)))) if spread > 0 else 2


def number(value: float | None, places: int = 3, sign: bool = False) -> str:
    """A number with a true minus sign; a dash for None and NaN."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:{'+' if sign else ''}.{places}f}".replace("-", "−")


def percent(value: float | None, places: int = 1, sign: bool = False) -> str:
    """0.123 → "12.3 %"."""
    return "–" if value is None else number(100 * value, places, sign) + " %"


def interval(mean: dict | None, places: int = 3, sign: bool = False, scale: float = 1) -> str:
    """The interval of {"value", "low", "high"}: "+8.1 to +16.0", or "" if there is none."""
    if not mean or mean["low"] is None or mean["high"] is None:
        return ""
    return " to ".join(number(mean[end] * scale, places, sign) for end in ("low", "high"))


def gain(mean: dict | None) -> str:
    """A gain with its interval: "+12.3 % (+8.1 to +16.0)"."""
    if not mean or mean["value"] is None:
        return "–"
    ends = interval(mean, 1, True, 100)
    return percent(mean["value"], 1, True) + (f" ({ends})" if ends else "")


def direction(difference: dict | None) -> str:
    """Whether an interval lies above or below zero."""
    if not difference or difference["low"] is None:
        return ""
    return "up" if difference["low"] > 0 else "down" if difference["high"] < 0 else ""


def schedule(values: dict) -> str:
    """{"looks": ["few", 6], "keep": [0.4, 0.5]} → "draft few: keep 40 % · step 6: keep 50 %"."""
    found = Schedule.from_json(values)
    if not found.looks:
        return "no pruning (best-of-N)"
    looks = zip(found.looks, found.keep, strict=True)
    texts = [f"{look_name(look)}: keep {100 * keep:.3g} %".replace(" ", "\u00a0") for look, keep in looks]
    return " · ".join(texts)
