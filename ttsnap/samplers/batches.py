"""Micro-batches: as many candidates at once as fit in memory, fewer when it runs out."""

from collections.abc import Callable

import torch

from ttsnap.errors import TtsnapError

SHARE = 0.8  # of the free memory, which a micro-batch may use


class MicroBatches:
    """Calls a function on parts of at most `size` rows; halves `size` for good when CUDA runs out of memory.

    One object serves a whole run, so that a size that does not fit is tried only once.
    """

    def __init__(self, size: int):
        self.size = size

    def __call__(self, function: Callable[[slice], object], rows: int) -> list:
        """[function(slice(0, size)), function(slice(size, 2·size)), …] up to `rows`.

        Raises TtsnapError when memory does not suffice for one row.
        """
        results, done = [], 0
        while done < rows:
            try:
                results.append(function(slice(done, min(done + self.size, rows))))
                done += self.size
            except torch.OutOfMemoryError:
                if self.size == 1:
                    raise TtsnapError(
                        "out of memory with one candidate at a time; use a smaller size, model or dtype"
                    ) from None
                self.size = -(-min(self.size, rows - done) // 2)
                torch.cuda.empty_cache()
        return results


def rows_in_memory(function: Callable[[int], object], device: torch.device, most: int = 64) -> int:
    """How many rows, 1 to `most`, `function(rows)` can take at once on a CUDA device.

    Estimated from its peak memory with one row and with two, and from the free memory.
    """

    def peak(rows: int) -> int:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        function(rows)
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before

    function(1)  # the first call also allocates what later calls share
    first, both = peak(1), peak(2)
    torch.cuda.empty_cache()
    free = torch.cuda.mem_get_info(device)[0]
    return max(1, min(most, 1 + int((SHARE * free - first) / max(both - first, 1))))
