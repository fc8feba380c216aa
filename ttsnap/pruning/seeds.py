"""Where randomness comes from."""

import hashlib
import json

MOST_CANDIDATES = 10_000  # that are started for a prompt
MOST_DRAWS = 100_000  # of candidates, for each prompt and budget of a simulation


def candidate_seed(run_seed: int, prompt: str, candidate: int) -> int:
    """The seed of one candidate, 0 ≤ seed < 2⁶³, from these three alone: never from shard, batch or device.

    torch's CPU generator reads the low 32 bits of it, so two of 200 candidates of a prompt share
    their noise once in 200 000 prompts.
    """
    key = json.dumps([int(run_seed), prompt, int(candidate)]).encode("ascii")
    return int.from_bytes(hashlib.sha256(key).digest()[:8], "big") >> 1
