"""A model folder that lacks a tensor is refused: its libraries would initialise it at random or fail later."""

import pytest
import tiny
from safetensors.torch import load, save

from ttsnap.errors import BadInput
from ttsnap.samplers import load_sampler

LACKS = [
    ("sdxl", "unet", "conv_in.bias"),
    ("sdxl", "vae", "decoder.conv_in.bias"),
    ("sdxl", "text_encoder_2", "text_model.final_layer_norm.bias"),
    ("flux", "transformer", "x_embedder.bias"),
]


@pytest.mark.parametrize(("family", "part", "tensor"), LACKS)
def test_a_missing_tensor_is_named(tmp_path, family, part, tensor):
    folder = tiny.save(getattr(tiny, family)(), tmp_path / "model")
    size = {"steps": 2, "guidance": 2.0, "height": tiny.PIXELS, "width": tiny.PIXELS}
    assert load_sampler(folder, **size).steps == 2
    (file,) = (tmp_path / "model" / part).glob("*.safetensors")
    state = load(file.read_bytes())
    (name,) = [n for n in state if n.endswith(tensor) or tensor.endswith(f".{n}")]
    del state[name]
    file.write_bytes(save(state, metadata={"format": "pt"}))
    with pytest.raises(BadInput, match=f"model: {part}: {tensor} is missing; download it again"):
        load_sampler(folder, **size)
