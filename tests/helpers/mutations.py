"""Ways to break a file: any bytes, and the structure of JSON, HDF5 and safetensors. Hypothesis chooses."""

import copy
import json
import math

import h5py
import numpy as np
from hypothesis import strategies as st

PLACE = st.floats(0, 1, exclude_max=True)
BYTES = st.binary(min_size=1, max_size=8)
HOSTILE = [
    None, True, -1, 0, 1, 2**70, 1e308, math.nan, math.inf, "", "x", "1", "\ud800", [], {}, [None],
    [[1]], {"a": 1}, "x" * 3000,
]  # fmt: skip

BYTE_CHANGES = st.lists(
    st.tuples(st.sampled_from(["flip", "cut", "put", "drop", "swap"]), PLACE, PLACE, BYTES), min_size=1, max_size=3
)
STRUCTURE_CHANGES = st.lists(
    st.tuples(st.sampled_from(["drop", "set", "empty", "double"]), PLACE, st.sampled_from(HOSTILE)),
    min_size=1,
    max_size=2,
)


def mutate_bytes(data: bytes, changes) -> bytes:
    """`data` with bytes flipped, cut off, put in, dropped, or two pieces swapped."""
    for kind, first, second, piece in changes:
        at, to = sorted((int(first * len(data)), int(second * len(data))))
        size = len(piece)
        if kind == "flip":
            flipped = bytes(a ^ b for a, b in zip(data[at:], piece, strict=False))
            data = data[:at] + flipped + data[at + size :]
        elif kind == "cut":
            data = data[:at]
        elif kind == "put":
            data = data[:at] + piece + data[at:]
        elif kind == "drop":
            data = data[:at] + data[at + size :]
        else:
            left, right = data[at : at + 16], data[to : to + 16]
            data = data[:at] + right + data[at + 16 : to] + left + data[to + 16 :]
    return data


def places(value, path=()) -> list[tuple]:
    """Every place in a JSON value."""
    inner = ()
    if isinstance(value, dict | list):
        inner = value.items() if isinstance(value, dict) else enumerate(value)
    return [path] + [place for key, part in inner for place in places(part, (*path, key))]


def mutate_value(value, changes):
    """A JSON value, changed in place and returned."""
    for kind, where, given in changes:
        new = copy.deepcopy(given)  # each its own: one list set within itself would have no end
        found = places(value)
        path = found[int(where * len(found))]
        if not path:
            value = new if kind == "set" else type(value)() if kind == "empty" else value
            continue
        holder = value
        for key in path[:-1]:
            holder = holder[key]
        last = path[-1]
        if kind == "drop":
            del holder[last]
        elif kind == "set":
            holder[last] = new
        elif kind == "empty":
            holder[last] = type(holder[last])()
        elif isinstance(holder, list):
            holder.append(holder[last])
        else:
            holder[f"{last}2"] = holder[last]
    return value


def mutate_json(data: bytes, changes) -> bytes:
    """JSON, or lines of it, with its structure changed."""
    text = data.decode()
    try:
        return json.dumps(mutate_value(json.loads(text), changes)).encode()
    except json.JSONDecodeError:
        lines = mutate_value([json.loads(line) for line in text.splitlines()], changes)
        lines = lines if isinstance(lines, list) else [lines]
        return "\n".join(map(json.dumps, lines)).encode()


def mutate_hdf5(path, changes) -> None:
    """Drop, retype, reshape or fill with nonsense the datasets and attributes of an HDF5 file."""
    with h5py.File(path, "r+") as file:
        for kind, where, new in changes:
            found = [("data", name) for name in file] + [("attr", name) for name in file.attrs]
            what, name = found[int(where * len(found))] if found else ("", "")
            if what == "attr":
                value = file.attrs.pop(name)
                if isinstance(value, str) and value.startswith("{"):
                    value = json.dumps(mutate_value(json.loads(value), [(kind, where, new)]))
                    file.attrs[name] = value
                elif kind in ("set", "double"):
                    _put(file.attrs, name, new)
            elif what == "data":
                value = file[name][()]
                del file[name]
                if kind == "set":
                    _put(file, name, new)
                elif kind == "empty":
                    _put(file, name, np.zeros(0, np.float32))
                elif kind == "double":
                    _put(file, name, np.asarray(value)[None] if where > 0.5 else np.atleast_1d(value)[1:])  # fmt: skip


def _put(holder, name: str, value) -> None:
    try:
        holder[name] = value
    except (TypeError, ValueError, UnicodeEncodeError, OSError):
        holder[name] = float("nan")
