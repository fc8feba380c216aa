"""The published rewards: preprocessing, heads, formulas, adapters, and files that are not their weights."""

import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import published
import pytest
import torch
from levels import level_about
from PIL import Image
from safetensors.torch import load, save
from torch import nn
from transformers import CLIPModel

from ttsnap.errors import BadInput
from ttsnap.models import resolve
from ttsnap.rewards import hps
from ttsnap.rewards.base import load_reward
from ttsnap.rewards.clip import linear_head
from ttsnap.rewards.levels import load_level, make_trainable, save_level
from ttsnap.rewards.preprocess import FITS, crop, crop_torchvision, pad, resize_8bit, squash
from ttsnap.rewards.weights import fill, read_weights

CLIP = "embedded:shapes-clip"
PROMPTS = ["a red circle", "a blue square left of a green circle"]


def picture(height, width, seed=0):
    """A uint8 picture and the same as [1,3,H,W] in [0,1]."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return pixels, torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255


@pytest.fixture(scope="module")
def options(tmp_path_factory):
    """Options that open each reward on small random weights."""
    root = tmp_path_factory.mktemp("published")
    head = published.laion_head(root / "head.pth", width=CLIPModel.from_pretrained(resolve(CLIP)).config.projection_dim)
    return {
        "clip": {"path": CLIP},
        "pickscore": {"path": CLIP},
        "aesthetic": {"path": CLIP, "head": str(head)},
        "hybrid": {"path": CLIP, "head": str(head)},
        "imagereward": published.imagereward(root / "ImageReward"),
        "hpsv2": published.hpsv2(root / "HPSv2"),
    }


@pytest.mark.parametrize("size", [(37, 61), (64, 64), (300, 225), (225, 517), (61, 37), (8, 200)])
def test_resize_is_pils_bit_by_bit(size):
    pixels, images = picture(*size)
    for side in (24, 56, 224):
        height, width = (int(side * length / min(size)) for length in size)
        resized = Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC)
        ours = (resize_8bit(images, height, width) * 255).round().to(torch.uint8)[0].permute(1, 2, 0)
        np.testing.assert_array_equal(ours.numpy(), np.asarray(resized))


@pytest.mark.parametrize("size", [(37, 61), (61, 38), (64, 64), (300, 225)])
def test_crops_are_torchvisions_and_transformers(size):
    from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Resize, ToTensor
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    pixels, images = picture(*size)
    published_code = Compose([Resize(32, InterpolationMode.BICUBIC), CenterCrop(32), ToTensor()])
    expected = published_code(Image.fromarray(pixels))
    torch.testing.assert_close(crop_torchvision(images, 32)[0], expected)
    processor = CLIPImageProcessorPil(
        size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}, do_normalize=False
    )
    expected = processor(Image.fromarray(pixels), return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(crop(images, 32), expected)


def test_pad_and_squash():
    _, images = picture(40, 80)
    padded = pad(images, 32)
    assert padded.shape[-2:] == (32, 32)
    assert not padded[..., :8, :].any() and not padded[..., 24:, :].any()
    assert padded[..., 8:24, :].std() > 0.05
    assert squash(images, 32).shape[-2:] == (32, 32)
    assert set(FITS) == {"crop", "crop-torchvision", "pad", "squash"}


@pytest.mark.parametrize("kind", ["clip", "pickscore", "aesthetic", "hybrid", "imagereward", "hpsv2"])
def test_every_reward_is_batched_and_differentiable(options, kind):
    reward = load_reward(kind, **options[kind])
    images = torch.cat([picture(40, 52, seed)[1] for seed in range(3)]).requires_grad_()
    prompts = [PROMPTS[0], PROMPTS[1], PROMPTS[0]]
    values = reward(images, prompts)
    assert values.shape == (3,) and values.dtype == torch.float32
    alone = [reward(images[i : i + 1], [prompts[i]]).item() for i in range(3)]
    np.testing.assert_allclose(values.detach(), alone, rtol=1e-4, atol=1e-4)
    values.sum().backward()
    assert torch.isfinite(images.grad).all()
    assert all(images.grad[k].abs().sum() > 0 for k in range(3))
    assert reward(images, prompts[::-1])[1] != values[0] and len(set(alone)) == 3


NOT_IMAGES = {
    "alpha": (torch.rand(1, 4, 8, 8), "a", r"shape \[1, 4, 8, 8\]; expected \[n, 3, height, width\]"),
    "grey": (torch.rand(1, 1, 8, 8), "a", r"shape \[1, 1, 8, 8\].*grey: repeat"),
    "one image": (torch.rand(3, 8, 8), "a", r"shape \[3, 8, 8\]"),
    "none": (torch.rand(0, 3, 8, 8), "", r"shape \[0, 3, 8, 8\]"),
    "bytes": (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), "a", "torch.uint8; expected floats"),
    "too few prompts": (torch.rand(2, 3, 8, 8), "a", "1 for 2 images"),
}


@pytest.mark.parametrize("name", NOT_IMAGES)
def test_anything_but_images_is_refused(options, name):
    images, prompts, says = NOT_IMAGES[name]
    with pytest.raises(BadInput, match=says):
        load_reward("clip", **options["clip"])(images, list(prompts))
    with pytest.raises(BadInput, match="one string for 1 images"):
        load_reward("clip", **options["clip"])(torch.rand(1, 3, 8, 8), "a")


@pytest.mark.parametrize("fit", sorted(FITS))
@pytest.mark.parametrize("size", [(1, 500), (500, 1), (1, 1), (2, 3)])
def test_thin_images_can_be_scored(options, fit, size):
    images = picture(*size)[1].requires_grad_()
    value = load_reward("clip", **options["clip"], fit=fit)(images, PROMPTS[:1])
    value.sum().backward()
    assert torch.isfinite(value).all() and torch.isfinite(images.grad).all()


def test_hybrid_and_clip_score_by_hand(options):
    _, images = picture(64, 64)
    clip = CLIPModel.from_pretrained(resolve(CLIP), dtype=torch.float32).eval()
    score = load_reward("clip", path=CLIP)
    tokens = score.tokenizer(PROMPTS[:1], padding=True, return_tensors="pt")
    with torch.no_grad():
        out = clip(pixel_values=score.preprocess(images), **tokens)
        cosine = (out.image_embeds * out.text_embeds).sum(-1)
        torch.testing.assert_close(score(images, PROMPTS[:1]), cosine, rtol=1e-4, atol=1e-5)
        aesthetic = load_reward("aesthetic", **options["aesthetic"])(images, PROMPTS[:1])
        hybrid = load_reward("hybrid", **options["hybrid"])(images, PROMPTS[:1])
    torch.testing.assert_close(hybrid, aesthetic + 0.25 * cosine, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("relu", [False, True])
def test_laion_heads(tmp_path, relu):
    path = published.laion_head(tmp_path / "h.pth", relu)
    state, features = read_weights(path), torch.randn(5, 64)
    expected = features
    for number in sorted({int(name.split(".")[1]) for name in state}):
        if relu and number:
            expected = expected.relu()
        expected = expected @ state[f"layers.{number}.weight"].T + state[f"layers.{number}.bias"]
    torch.testing.assert_close(linear_head(state, path, "auto")(features), expected)
    single = linear_head({"weight": torch.ones(1, 64), "bias": torch.zeros(1)}, path, "auto")
    torch.testing.assert_close(single(features)[:, 0], features.sum(1))


class Evil:
    def __reduce__(self):
        return os.system, ("touch /tmp/ttsnap-evil",)


def bad_files(folder):
    """Files that are not the weights their names promise."""
    whole = folder / "whole.pt"
    torch.save({"state_dict": {"x": torch.zeros(100)}}, whole)
    files = {name: folder / f"{name}.pt" for name in ("page", "evil", "cut", "lfs", "empty", "list", "text")}
    files["page"].write_text("<!doctype html><title>Sign in</title>")
    torch.save({"state_dict": {"x": Evil()}}, files["evil"])
    files["cut"].write_bytes(whole.read_bytes()[:-200])
    files["lfs"].write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    files["empty"].write_bytes(b"")
    torch.save([torch.zeros(2)], files["list"])
    files["text"].write_text("not weights at all")
    (folder / "plain.pkl").write_bytes(pickle.dumps(Evil(), protocol=2))
    return files | {"plain": folder / "plain.pkl", "missing": folder / "none.pt"}


def test_anything_but_weights_is_refused_and_never_run(tmp_path):
    says = {
        "page": "web page", "lfs": "Git LFS", "empty": "empty", "cut": "cut short", "list": "no table",
        "text": "not a weights file", "evil": "could run code", "plain": "could run code", "missing": "no such",
    }  # fmt: skip
    for name, path in bad_files(tmp_path).items():
        with pytest.raises(BadInput, match=says[name]) as error:
            read_weights(path)
        assert path.name in str(error.value) and "\n" not in str(error.value)
    assert not os.path.exists("/tmp/ttsnap-evil")


def test_weights_of_another_model_are_named(options, tmp_path):
    layer = nn.Linear(2, 3)
    for state, says in (
        ({"weight": torch.zeros(3, 2)}, "bias is missing"),
        ({"weight": torch.zeros(3, 3), "bias": torch.zeros(3)}, r"weight is \[3, 3\], expected \[3, 2\]"),
        ({"weight": torch.zeros(3, 2), "bias": torch.zeros(3), "x": torch.zeros(1)}, "x is not known"),
    ):
        with pytest.raises(BadInput, match=says):
            fill(layer, state, "w.pt")
    for kind, file, key in (
        ("hpsv2", "HPS_v2.1_compressed.pt", "visual.proj"),
        ("imagereward", "ImageReward.pt", "blip.visual_encoder.blocks.1.mlp.fc2.weight"),
    ):
        kept = dict(options[kind])
        path = f"{kept['path']}/{file}"
        whole = torch.load(path, weights_only=True)
        state = dict(whole.get("state_dict", whole))
        del state[key]
        try:
            torch.save({"state_dict": state}, path)
            with pytest.raises(BadInput, match="is missing"):
                load_reward(kind, **kept)
        finally:
            torch.save(whole, path)


def test_an_incomplete_clip_folder_is_refused(tmp_path, monkeypatch):
    """transformers would make up what is missing and score with it."""
    folder = Path(shutil.copytree(resolve(CLIP), tmp_path / "clip"))
    weights = folder / "model.safetensors"
    whole, state = weights.read_bytes(), load(weights.read_bytes())
    for broken in (whole[: len(whole) // 2], b"<!doctype html><title>Sign in</title>"):
        weights.write_bytes(broken)
        with pytest.raises(BadInput, match="clip: its weights do not open .*download them again"):
            load_reward("clip", path=str(folder))
    del state["text_model.encoder.layers.0.layer_norm1.bias"]
    weights.write_bytes(save(state, metadata={"format": "pt"}))
    with pytest.raises(BadInput, match="layers.0.layer_norm1.bias is missing"):
        load_reward("clip", path=str(folder))
    monkeypatch.setattr(CLIPModel, "from_pretrained", None)  # no hub is contacted
    with pytest.raises(BadInput, match="no CLIP model at models/.*ttsnap download --only"):
        load_reward("clip", path="models/CLIP-ViT-L-14")


@pytest.mark.parametrize("kind", ["hpsv2", "imagereward"])
def test_the_error_for_missing_weights_tells_how_to_get_them(kind, tmp_path):
    with pytest.raises(BadInput, match="no such file; ttsnap download --only"):
        load_reward(kind, path=str(tmp_path))


@pytest.mark.parametrize("kind", ["hpsv2", "imagereward", "hybrid"])
def test_levels_are_swapped_in_place(options, kind, tmp_path):
    """Full weights and LoRA by the same call; every adapter affects the score."""
    _, images = picture(40, 40)
    for lora in (None, {"rank": 2, "alpha": 4}):
        torch.manual_seed(0)
        reward = load_reward(kind, **options[kind])
        base = reward(images, PROMPTS[:1]).item()
        parameters = make_trainable(reward, lora)
        with torch.no_grad():
            for value in parameters.values():
                value.add_(torch.randn_like(value) * 0.05)
        changed = reward(images, PROMPTS[:1])
        changed.sum().backward()
        dead = [n for n, p in parameters.items() if p.grad is None or not p.grad.abs().sum()]
        unused = ("clip.logit_scale", "post_layernorm")  # not in this score; transformers' pooled token
        assert [n for n in dead if not any(u in n for u in unused)] == []
        save_level(tmp_path / "3.safetensors", parameters, level_about(reward, 3, lora))
        fresh = load_reward(kind, **options[kind])
        assert fresh(images, PROMPTS[:1]).item() == pytest.approx(base, abs=1e-6)
        load_level(fresh, tmp_path / "3.safetensors")
        assert fresh(images, PROMPTS[:1]).item() == pytest.approx(changed.item(), abs=1e-5)
        assert abs(changed.item() - base) > 1e-5


def test_fifteen_levels_of_vit_h_take_little_more_than_one():
    """The published architecture on the meta device: 15 adapters of the default rank beside one model."""
    model = hps.with_linear_attention(hps.build("ViT-H-14"))
    base = sum(p.numel() for p in model.parameters())
    assert base == pytest.approx(986e6, rel=0.001)
    with torch.device("meta"):
        adapters = make_trainable(model, {"rank": 8, "alpha": 16})
    assert len(adapters) == 2 * 4 * (32 + 24)
    assert 1 + 15 * sum(p.numel() for p in adapters.values()) / base < 1.2
