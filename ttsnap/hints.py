"""“Did you mean”: the name there is that is nearest to one there is not."""

import difflib
from collections.abc import Iterable


def did_you_mean(word: object, known: Iterable[object]) -> str:
    """ "; did you mean flux-dev?" for what ends an error message; "" where nothing is near `word`."""
    if not isinstance(word, str):
        return ""
    names = {str(name).lower(): str(name) for name in known}
    word = word.lower()
    near = difflib.get_close_matches(word, names, 1, 0.6)
    near = near or sorted(name for name in names if len(word) > 1 and word in name)
    return f"; did you mean {names[near[0]]}?" if near else ""
