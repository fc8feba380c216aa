"""What is shipped of a reference run, taken from the small run of the workflow."""

import re

from ttsnap.finetune.alignment import align
from ttsnap.storage.tensor import read_tensor


def test_only_levels_that_read_clearly_better_are_shipped(finished, tmp_path):
    from recipe.reference import ship

    ship(finished / "results", tmp_path)
    card = (tmp_path / "shapes-levels/README.md").read_text()
    better = set()
    for reward in ("pickscore", "aesthetic"):
        for split in ("validation", "test"):
            copied = (tmp_path / f"shapes-reference/{split}.{reward}.h5").read_bytes()
            assert copied == (finished / f"results/tensors/{split}.{reward}.h5").read_bytes()
        found = align(read_tensor(finished / f"results/tensors/validation.{reward}.h5"))
        levels = [row for row in [*found["drafts"], *found["steps"]] if row["noise_aware"]]
        named = {str(row.get("draft", row.get("step"))): row["tau_difference"]["low"] > 0 for row in levels}
        better |= {f"{reward}.{level}.safetensors" for level, clear in named.items() if clear}
        assert len(re.findall(rf"^\| {reward} \|.*\| (yes|no) \|$", card, re.MULTILINE)) == len(named) == 3
    assert {path.name for path in (tmp_path / "shapes-levels").glob("*.safetensors")} == better
    assert card.count("| yes |") == len(better)
