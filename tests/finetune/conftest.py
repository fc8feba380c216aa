"""What the tests of finetuning share."""

import pytest

from recipe.reward import save_untrained


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> str:
    """A folder with an untrained CLIP model."""
    folder = tmp_path_factory.mktemp("clip")
    save_untrained(folder, 0)
    return str(folder)
