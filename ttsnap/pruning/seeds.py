"""Seeds of candidates, and limits on how many are drawn."""

import hashlib
import json

MOST_CANDIDATES = 10_000  # per prompt
MOST_DRAWS = 100_000  # of candidates, per prompt and budget of a simulation


def candidate_seed(run_seed: int, prompt: str, candidate: int) -> int:
    """The seed of one candidate, 0 ≤ seed < 2⁶³: a function of these three alone, whatever shard, batch or device.

    torch's CPU generator reads only the low 32 bits, so in one of 200 000 prompts two of 200 candidates share their
    noise.
    """
    key = json.dumps([int(run_seed), prompt, int(candidate)]).encode("ascii")
    return int.from_bytes(hashlib.sha256(key).digest()[:8], "big") >> 1
