"""A draft's model and a decoder of looks must be of the model's latent space, by their configs, before any job."""

import json
from pathlib import Path

import pytest
import tiny

from ttsnap.errors import BadInput
from ttsnap.models.latents import check_decoder, check_draft_model


def change(folder, part: str, **values) -> None:
    """Set keys of a part's config; None takes a key away."""
    path = folder / part / "config.json"
    config = json.loads(path.read_text()) | values
    path.write_text(json.dumps({key: value for key, value in config.items() if value is not None}))


@pytest.fixture
def two(tmp_path):
    """The folders of two tiny SD 1.5."""
    return [Path(tiny.save(tiny.sd15(), tmp_path / name)) for name in ("model", "draft")]


def test_a_config_may_leave_out_what_the_vae_has_by_itself(two):
    """The published config of SD 1.5's VAE names no scaling_factor; one that was saved again does."""
    model, draft = two
    change(model, "vae", scaling_factor=None, latent_channels=None, shift_factor=None)
    check_draft_model(str(draft), str(model), "drafts.few.model")
    check_draft_model(str(model), str(draft), "drafts.few.model")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"scaling_factor": 0.13025}, "has scaling_factor 0.13025"),
        ({"latent_channels": 16}, "has latent_channels 16"),
        ({"shift_factor": 0.1}, "has shift_factor 0.1"),
        ({"block_out_channels": [8, 16, 16]}, "has pixels per latent 4"),
    ],
)
def test_another_latent_space_is_refused(two, changes, says):
    model, draft = two
    change(draft, "vae", **changes)
    with pytest.raises(BadInput, match=f"drafts.few.model: .*{says}.*; a draft needs the same latents"):
        check_draft_model(str(draft), str(model), "drafts.few.model")


def test_another_family_is_refused(two, tmp_path):
    other = tiny.save(tiny.sdxl(), tmp_path / "sdxl")
    with pytest.raises(BadInput, match="is a StableDiffusionXLPipeline, .* a StableDiffusionPipeline"):
        check_draft_model(str(other), str(two[0]), "drafts.few.model")


def test_a_decoder_of_other_latents_is_refused(two, tmp_path):
    decoder = tmp_path / "taesd"
    tiny.taesd().save_pretrained(decoder)
    check_decoder(str(decoder), str(two[0]), "looks.decoder")
    change(decoder, ".", latent_channels=16)
    with pytest.raises(BadInput, match="looks.decoder: .* decodes 16 channels, .* has 4"):
        check_decoder(str(decoder), str(two[0]), "looks.decoder")
    with pytest.raises(BadInput, match="looks.decoder: .* is a AutoencoderKL; name an AutoencoderTiny"):
        check_decoder(str(two[0] / "vae"), str(two[0]), "looks.decoder")
