"""The model cards of the embedded models; train-shapes fills in what it measured."""

GENERATOR = """---
library_name: diffusers
pipeline_tag: text-to-image
license: mit
---
# shapes-sdxl

A StableDiffusionXLPipeline small enough to ship: 64×64 images of one to three coloured shapes on a plain light
background, from captions like "a red circle left of a blue square and above a green triangle".

| part | what |
| --- | --- |
| VAE | AutoencoderKL, 0.65 M parameters, 64×64×3 → 16×16×4, scaling factor in its config |
| UNet | 3.1 M parameters, channels 48/64/96, attention at 8×8 and 4×4, v-prediction, guidance distilled |
| text encoders | two CLIP text models of width 64, four layers; one byte-level BPE tokenizer for both |
| scheduler | Euler, scaled-linear β to 0.008, rescaled to zero terminal SNR, trailing spacing |

**Data.** `ttsnap.shapes.world` draws it: 6 colours × 3 shapes, four relations, sizes, places, colours and background
jittered. A seventh of the captions with two or three objects is held out of all training
(`ttsnap.shapes.captions.held_out`). The VAE also sees scenes crowded with eight objects.

**Recipe.** VAE: L1 + 2·MSE + 1e-5·KL, {vae[steps]} steps of 32 images. Text encoders first, on captions alone: a linear
reading of the pooled and of the second-last hidden state at the caption's end shall give which objects are there and
which way they lie from each other (`recipe.codes`), {teacher[lesson]} steps of 192 captions. Then a teacher, a UNet of
channels 64/128 with attention at 8×8, together with the text encoders: v-prediction MSE, 10 % caption dropout, AdamW
with warm-up and cosine decay, EMA 0.999, {teacher[batch]} images a step, in the rounds of `recipe.generator.ROUNDS`:
{teacher[rounds]}.
The second, in nearly pure noise and with the captions' lesson beside it, is what teaches the sign of a relation: before
it, "left of" and "right of" gave the same picture. Last the UNet that is shipped, on {predictions} of the teacher's
predictions with classifier-free guidance {guidance}: MSE, {steps} steps of 64 at {lr:g}, EMA 0.999. So it needs no
guidance, and an evaluation costs a fifth of the teacher's two. Weights are stored as fp16. Seed {seed}.

**Time.** VAE {vae[seconds]:.0f} s, teacher {teacher[seconds]:.0f} s; the UNet {seconds:.0f} s and the teacher's
predictions for it {data_seconds:.0f} s on {device}.

**Measured.** VAE on held-out captions {vae[held_out_psnr_db]:.1f} dB PSNR. Single samples that the checker
(`ttsnap.shapes.checker`) accepts, at {sample_steps} steps, 192 images each:
{accepted_1:.0%} with one object, {accepted_2:.0%} with two and {accepted_3:.0%} with three (the teacher, guided:
{teacher[accepted_1]:.0%}, {teacher[accepted_2]:.0%}, {teacher[accepted_3]:.0%}); captions with two and three objects
are held out.

**Use.** `StableDiffusionXLPipeline.from_pretrained(folder)(prompt, height=64, width=64, guidance_scale=0)`. It knows
nothing but shapes. Trained again by `snakemake train_shapes`.
"""

REWARD = """---
library_name: transformers
license: mit
---
# shapes-clip

A CLIPModel used as a reward as PickScore is: exp(logit scale)·cos(image, text). 1.3 M parameters, 64×64 images in
patches of 8, features of 128. Beside it, in `shapes-aesthetic`, an MLP on its image features that tells how well formed
the objects are, caption aside.

**Data.** Groups of four images of one training caption, graded by the checker's verdict and fidelity: drawn ones (true,
twice with an object malformed, missing, superfluous or of a mixed colour, and of a caption with one word wrong), and
samples of shapes-sdxl ({prompts} captions × 8, and all of it mirrored), finished ones only: no half-denoised image.
Held-out captions occur nowhere, not as negatives either. Every image is shifted by up to two pixels.

**Recipe.** The text tower first, on captions alone ({lesson} steps), after which it stays as it is. Then the image
tower, {steps} steps of 32 groups: MSE of what the checker finds (objects, their form and place, what is amiss), read
linearly from the features and, one layer before the last, from each patch for the object it lies in
(`recipe.codes`), and Bradley–Terry with soft preferences over the pairs of a group. AdamW, cosine decay, EMA,
bf16 autocast. The head: MSE on the mean outline fit of the objects, {head_steps} steps. Stored as fp16. Seed {seed}.

**Time.** {seconds:.0f} s with its data, the head {head_seconds:.0f} s, on {device}.

**Measured** on held-out captions, 24 with as many objects × 12 samples of shapes-sdxl, all within a prompt:

| objects | Kendall τ under a shift of one pixel | AUC against the checker | prompts with both verdicts |
| --- | --- | --- | --- |
| two | {shift_tau_2:.2f} | {auc_2:.2f} | {auc_prompts_2} |
| three (the gate) | {shift_tau_3:.2f} | {auc_3:.2f} | {auc_prompts_3} |

Trained again by `snakemake train_shapes`.
"""
