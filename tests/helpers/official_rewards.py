"""Runs in the environment of envs/reward-official.yaml: the official image-reward and hpsv2 packages.

python official_rewards.py FOLDER: reads FOLDER/cases.json ({"seed", "prompts", "images"}), writes random
weights of both packages' own classes, made small, in the layout they are published in, and
FOLDER/official.json: the scores of the packages' own `score` and a gradient of the pixels.
"""

import json
import shutil
import sys
import types
from pathlib import Path

import clip
import torch
from PIL import Image

SMALL_CLIP = {
    "embed_dim": 64,
    "vision_cfg": {"image_size": 56, "layers": 3, "width": 160, "head_width": 80, "patch_size": 14},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 128, "heads": 2, "layers": 3},
}
MED = {
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
    "hidden_size": 768,
    "intermediate_size": 256,
    "layer_norm_eps": 1e-12,
    "max_position_embeddings": 64,
    "model_type": "bert",
    "num_attention_heads": 12,
    "num_hidden_layers": 2,
    "pad_token_id": 0,
    "type_vocab_size": 2,
    "encoder_width": 768,
    "add_cross_attention": True,
}


def randomise(model, seed):
    """Random weights that make scores differ by far more than rounding: the packages' own start is near 0."""
    generator = torch.Generator().manual_seed(seed)
    for value in model.state_dict().values():
        if value.is_floating_point() and value.isfinite().all():
            noise = torch.randn(value.shape, generator=generator)
            if value.ndim > 1:
                value.copy_(noise * 1.5 / value[0].numel() ** 0.5)
            elif value.ndim == 1:
                value.copy_(noise * 0.2 + value.round())


def images_of(folder, cases):
    return [Image.open(folder / name).convert("RGB") for name in cases["images"]]


@torch.no_grad()
def imagereward(folder, cases):
    """ImageReward, its ViT-L made small; its training code (which imports diffusers) left out."""
    sys.modules["ImageReward.ReFL"] = types.ModuleType("ImageReward.ReFL")
    import ImageReward.models.BLIP.blip_pretrain as blip_pretrain
    from ImageReward.ImageReward import ImageReward
    from ImageReward.models.BLIP.vit import VisionTransformer
    from ImageReward.utils import load

    blip_pretrain.create_vit = lambda vit, size, *rest: (
        VisionTransformer(img_size=size, patch_size=16, embed_dim=128, depth=2, num_heads=2),
        128,
    )
    words = (folder / "bert-base-uncased" / "vocab.txt").read_text().splitlines()
    med = folder / "med_config.json"
    med.write_text(json.dumps(MED | {"vocab_size": len(words) + 2}))
    shutil.copy(folder / "bert-base-uncased" / "vocab.txt", folder / "vocab.txt")
    model = ImageReward(device="cpu", med_config=str(med))
    randomise(model, cases["seed"])
    torch.save(model.state_dict(), folder / "ImageReward.pt")
    model = load(str(folder / "ImageReward.pt"), device="cpu", med_config=str(med))
    pictures = images_of(folder, cases)
    scores = [model.score(p, i) for p, i in zip(cases["prompts"], pictures, strict=True)]
    pixels = model.preprocess(pictures[0])[None]
    words = model.blip.tokenizer(
        cases["prompts"][0], padding="max_length", truncation=True, max_length=35, return_tensors="pt"
    )
    with torch.enable_grad():
        pixels.requires_grad_()
        model.score_gard(words.input_ids, words.attention_mask, pixels).sum().backward()
    return {"scores": scores, "gradient": pixels.grad[0].norm().item()}


@torch.no_grad()
def hpsv2(folder, cases, version):
    """HPSv2 by its own `score`, with ViT-H-14 made small; only the fetching of CLIP's weights is left out."""
    sys.modules.setdefault("turtle", types.SimpleNamespace(forward=None))  # imported, never used
    import hpsv2

    vocabulary = Path(hpsv2.__file__).parent / "src/open_clip/bpe_simple_vocab_16e6.txt.gz"
    if not vocabulary.exists():  # missing from the package of 1.2.0
        shutil.copy(Path(clip.__file__).parent / vocabulary.name, vocabulary)
    from hpsv2 import img_score
    from hpsv2.src.open_clip import factory

    factory._MODEL_CONFIGS["ViT-H-14"] = SMALL_CLIP
    original = factory.create_model
    factory.create_model = lambda name, pretrained=None, **options: original(name, None, **options)
    img_score.initialize_model()
    model = img_score.model_dict["model"]
    randomise(model, cases["seed"] + len(version))
    file = folder / {"v2.0": "HPS_v2_compressed.pt", "v2.1": "HPS_v2.1_compressed.pt"}[version]
    torch.save({"state_dict": model.state_dict()}, file)
    (folder / "architecture.json").write_text(json.dumps(SMALL_CLIP))
    pairs = zip(cases["prompts"], images_of(folder, cases), strict=True)
    scores = [float(img_score.score(i, p, cp=str(file), hps_version=version)[0]) for p, i in pairs]
    return {"scores": scores}


def main():
    folder = Path(sys.argv[1])
    cases = json.loads((folder / "cases.json").read_text())
    found = {"imagereward": imagereward(folder, cases)}
    for version in ("v2.0", "v2.1"):
        found[f"hpsv2 {version}"] = hpsv2(folder, cases | {"seed": cases["seed"] + ord(version[-1])}, version)
    (folder / "official.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main()
