"""A model folder in which weights are missing is refused: its libraries would make them up or fail later."""

import pytest
import tiny
from safetensors.torch import load, save

from ttsnap.errors import BadInput
from ttsnap.samplers import load_sampler

PARTS = {
    ("sdxl", "unet"): "conv_in.bias is missing",
    ("sdxl", "vae"): "decoder.conv_in.bias is missing",
    ("sdxl", "text_encoder_2"): "text_model.final_layer_norm.bias is missing",
    ("flux", "transformer"): "x_embedder.bias is missing",
}
LACKS = {
    "unet": "conv_in.bias",
    "vae": "decoder.conv_in.bias",
    "text_encoder_2": "text_model.final_layer_norm.bias",
    "transformer": "x_embedder.bias",
}


@pytest.mark.parametrize(("family", "part"), PARTS)
def test_a_missing_tensor_is_said(tmp_path, family, part):
    folder = tiny.save(getattr(tiny, family)(), tmp_path / "model")
    size = {"steps": 2, "guidance": 2.0, "height": tiny.PIXELS, "width": tiny.PIXELS}
    assert load_sampler(folder, **size).steps == 2
    (file,) = (tmp_path / "model" / part).glob("*.safetensors")
    state = load(file.read_bytes())
    (name,) = [n for n in state if n.endswith(LACKS[part]) or LACKS[part].endswith("." + n)]
    del state[name]
    file.write_bytes(save(state, metadata={"format": "pt"}))
    with pytest.raises(BadInput, match=f"model: {part}: {PARTS[family, part]}; download it again"):
        load_sampler(folder, **size)
