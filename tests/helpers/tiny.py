"""Tiny randomly initialised SDXL, SD 1.5 and FLUX pipelines, made without a network.

Every builder returns a diffusers pipeline; `save(pipe, folder)` writes it as a folder.
"""

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderTiny,
    DDIMScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from tokenizers.pre_tokenizers import ByteLevel
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

PIXELS = 32  # the images' side; two VAE levels make latents of 16×16


def clip_tokenizer(length: int = 16) -> CLIPTokenizer:
    """A CLIP tokenizer of single bytes: it reads any text."""
    letters = sorted(ByteLevel.alphabet())
    words = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    vocab = {word: number for number, word in enumerate(words)}
    return CLIPTokenizer(vocab=vocab, merges=[], model_max_length=length)


def t5_tokenizer() -> T5Tokenizer:
    """A T5 tokenizer of single ASCII characters."""
    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    return T5Tokenizer(vocab=special + [(chr(c), -3.0) for c in range(33, 127)], extra_ids=0)


def _text_encoder(cls, tokenizer: CLIPTokenizer):
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=tokenizer.model_max_length,
        projection_dim=16,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return cls(config)


def _vae(**config) -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(8, 16),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=PIXELS,
        **config,
    )


def taesd(**config) -> AutoencoderTiny:
    """An AutoencoderTiny that fits the VAE of the pipelines below: one upsampling."""
    torch.manual_seed(1)
    blocks = {f"{part}_block_out_channels": (8, 8) for part in ("encoder", "decoder")}
    blocks |= {f"num_{part}_blocks": (1, 1) for part in ("encoder", "decoder")}
    return AutoencoderTiny(**blocks | config)


def _unet(**config) -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=PIXELS // 2,
        block_out_channels=(16, 32),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        norm_num_groups=4,
        attention_head_dim=(2, 4),
        **config,
    )


def sdxl(
    prediction_type: str = "epsilon", scheduler=None, zeros: bool = True, vae: dict | None = None
) -> StableDiffusionXLPipeline:
    """A StableDiffusionXLPipeline of 0.2 M parameters. `zeros`: force_zeros_for_empty_prompt."""
    torch.manual_seed(0)
    tokenizer = clip_tokenizer()
    unet = _unet(
        use_linear_projection=True,
        cross_attention_dim=32,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=16 + 6 * 8,
    )
    return StableDiffusionXLPipeline(
        vae=_vae(**(vae or {"scaling_factor": 0.13025})),
        text_encoder=_text_encoder(CLIPTextModel, tokenizer),
        text_encoder_2=_text_encoder(CLIPTextModelWithProjection, tokenizer),
        tokenizer=tokenizer,
        tokenizer_2=clip_tokenizer(),
        unet=unet,
        scheduler=scheduler
        or EulerDiscreteScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            prediction_type=prediction_type,
            timestep_spacing="leading",
            steps_offset=1,
        ),
        force_zeros_for_empty_prompt=zeros,
        add_watermarker=False,
    )


def flux(guidance_embeds: bool = True, dynamic_shifting: bool = True) -> FluxPipeline:
    """A FluxPipeline of 0.1 M parameters; with both True it is a dev, with both False a schnell."""
    torch.manual_seed(0)
    tokenizer = clip_tokenizer()
    t5 = t5_tokenizer()
    transformer = FluxTransformer2DModel(
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=16,
        pooled_projection_dim=16,
        guidance_embeds=guidance_embeds,
        axes_dims_rope=(4, 4, 8),
    )
    return FluxPipeline(
        vae=_vae(scaling_factor=0.3611, shift_factor=0.1159, use_quant_conv=False, use_post_quant_conv=False),
        text_encoder=_text_encoder(CLIPTextModel, tokenizer),
        tokenizer=tokenizer,
        text_encoder_2=T5EncoderModel(
            T5Config(
                vocab_size=len(t5),
                d_model=16,
                d_kv=8,
                d_ff=32,
                num_layers=1,
                num_heads=2,
                feed_forward_proj="gated-gelu",
            )
        ),
        tokenizer_2=t5,
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(
            shift=3.0 if dynamic_shifting else 1.0, use_dynamic_shifting=dynamic_shifting
        ),
    )


def sd15() -> StableDiffusionPipeline:
    """A StableDiffusionPipeline of 0.2 M parameters, shaped like SD 1.5."""
    torch.manual_seed(0)
    tokenizer = clip_tokenizer()
    unet = _unet(cross_attention_dim=16)
    scheduler = DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        timestep_spacing="trailing",
        clip_sample=False,
        set_alpha_to_one=False,
    )
    return StableDiffusionPipeline(
        vae=_vae(scaling_factor=0.18215),
        text_encoder=_text_encoder(CLIPTextModel, tokenizer),
        tokenizer=tokenizer,
        unet=unet,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def own_run(pipe, prompt: str, seeds, steps: int, guidance: float, size: dict, output: str = "latent") -> torch.Tensor:
    """What the pipeline itself makes, each image from a generator with its seed: final latents, or images ("pt")."""
    pipe.set_progress_bar_config(disable=True)
    return pipe(
        prompt,
        num_inference_steps=steps,
        guidance_scale=guidance,
        num_images_per_prompt=len(seeds),
        generator=[torch.Generator().manual_seed(seed) for seed in seeds],
        output_type=output,
        **size,
    ).images


def save(pipe, folder) -> str:
    """Write the pipeline with diffusers itself; return the folder as a string."""
    pipe.save_pretrained(folder)
    return str(folder)
