"""Whether models share a latent space, by their config files alone: before any job, and without torch."""

from pathlib import Path

from ttsnap.errors import BadInput
from ttsnap.models import resolve
from ttsnap.storage.files import read_json

# What defines the latents of a VAE, with the values of AutoencoderKL that a config may leave out, as SD 1.5's does
SPACE = {
    "latent_channels": 4,
    "scaling_factor": 0.18215,
    "shift_factor": None,
    "latents_mean": None,
    "latents_std": None,
}
TINY = "AutoencoderTiny"


def check_draft_model(draft: str, model: str, where: str) -> None:
    """Raise BadInput, beginning with `where`, unless two diffusers folders are of one family and latent space.

    A hub id that was not downloaded passes: the job that opens it looks.
    """
    ours, theirs = (Path(resolve(path)) for path in (draft, model))
    if not (ours.is_dir() and theirs.is_dir()):
        return
    kinds = [read_json(path / "model_index.json").get("_class_name") for path in (ours, theirs)]
    if kinds[0] != kinds[1]:
        raise BadInput(f"{where}: {draft} is a {kinds[0]}, {model} a {kinds[1]}; a draft needs one of the same latents")
    vaes = [_vae(path) for path in (ours, theirs)]
    for key, mine in vaes[0].items():
        if mine != vaes[1][key]:
            raise BadInput(f"{where}: {draft} has {key} {mine}, {model} {vaes[1][key]}; a draft needs the same latents")


def check_decoder(decoder: str, model: str, where: str) -> None:
    """Raise BadInput, beginning with `where`, unless a folder is an AutoencoderTiny of the model's latents."""
    ours, theirs = (Path(resolve(path)) for path in (decoder, model))
    if not ours.is_dir():
        return
    if not (ours / "config.json").is_file():
        raise BadInput(f"{where}: {decoder}: no config.json in it; name a folder of an {TINY}, such as TAESD")
    config = read_json(ours / "config.json")
    if config.get("_class_name") != TINY:
        raise BadInput(f"{where}: {decoder} is a {config.get('_class_name')}; name an {TINY}, such as TAESD")
    if theirs.is_dir() and (found := config.get("latent_channels", 4)) != (wanted := _vae(theirs)["latent_channels"]):
        raise BadInput(f"{where}: {decoder} decodes {found} channels, {model} has {wanted}; name one made for it")


def _vae(folder: Path) -> dict:
    """What defines the latents of a pipeline's VAE: SPACE, and how many pixels a latent covers."""
    config = read_json(folder / "vae" / "config.json", infinities=True)
    space = {key: config.get(key, usual) or None for key, usual in SPACE.items()}
    return space | {"pixels per latent": 2 ** (len(config.get("block_out_channels", ())) - 1)}
