"""NegToMe (arXiv 2412.01339): pushing the images of a group away from its first one, for diversity.

Attention processors wrap the model's. One call of the denoiser is one group; its first row (of each half of
classifier-free guidance) is the reference and stays as it is.
"""

import torch
import torch.nn.functional as F

from ttsnap.errors import BadInput
from ttsnap.settings.negtome import NegToMe

PUBLISHED_STRENGTH = {  # by family
    "flux": {"alpha": 1.2, "threshold": 0.65, "first": 1000.0, "last": 900.0},
    "sdxl": {"alpha": 2.5, "threshold": 0.7, "first": 950.0, "last": 800.0},
}
SMALLEST_SIDE = 32  # of the feature maps that the published SDXL code touches


def push(hidden: torch.Tensor, alpha: float, threshold: float, published: bool = False) -> torch.Tensor:
    """hidden [n,tokens,d] of one group → the same, rows 1… pushed away from row 0 (NegToMe, Section 3 and Algorithm 1).

    published: like the published code, take the maximum over the image's tokens instead: token j is judged by the image
    token nearest to reference token j, and that token's number picks the reference token to move away from.
    """
    unit = F.normalize(hidden, dim=-1)
    similarity = unit[1:] @ unit[0].T  # [n−1, tokens of the image, tokens of the reference]
    most, match = similarity.max(dim=1 if published else 2)
    others, reference = hidden[1:], hidden[0][match]
    pushed = (1 + alpha) * others - alpha * reference
    return torch.cat([hidden[:1], torch.where((most > threshold)[..., None], pushed, others)])


class Pusher:
    """What the processors of one model share: the settings, and what they need to know of the current call."""

    def __init__(self, settings: NegToMe, family: str, halves: int):
        """halves: 2 with classifier-free guidance. Raises BadInput for a family without published values."""
        if family not in PUBLISHED_STRENGTH:
            raise BadInput(f"negtome: not for models of the {family} family")
        values = PUBLISHED_STRENGTH[family] | settings.model_dump(exclude_none=True)
        self.group, self.published = values["group"], values["variant"] == "published"
        self.alpha, self.threshold = values["alpha"], values["threshold"]
        self.first, self.last = values["first"], values["last"]
        self.family, self.halves = family, halves
        self.on, self.text_tokens, self.map = False, 0, (0, 0)

    def describe(self) -> dict:
        """What the candidates depend on, for the attributes of files."""
        keys = ("group", "alpha", "threshold", "first", "last", "published")
        return {key: getattr(self, key) for key in keys}

    def acts_at(self, timestep: float) -> bool:
        """Whether it acts at this timestep, 0…1000."""
        return self.last <= timestep <= self.first

    def before_denoiser(self, module, args, kwargs) -> None:
        """A forward pre-hook of the denoiser: note the timestep and the sizes of this call."""
        sample = kwargs.get("sample", kwargs.get("hidden_states", args[0] if args else None))
        timestep = kwargs["timestep"] if "timestep" in kwargs else args[1]
        scale = 1000 if self.family == "flux" else 1  # FLUX takes the time in 0…1
        self.on = self.acts_at(float(torch.as_tensor(timestep).flatten()[0]) * scale)
        self.text_tokens = kwargs["encoder_hidden_states"].shape[1]
        self.map = tuple(sample.shape[-2:])

    def __call__(self, hidden: torch.Tensor) -> torch.Tensor:
        """Image tokens [halves·n,tokens,d], pushed within each half."""
        parts = hidden.chunk(self.halves)
        return torch.cat([push(part, self.alpha, self.threshold, self.published) for part in parts])

    def touches(self, tokens: int) -> bool:
        """Whether to push a feature map of so many tokens: always, except in the published SDXL code."""
        if self.family == "flux" or not self.published:
            return True
        rows, columns = self.map
        return min(rows, columns) * (tokens / (rows * columns)) ** 0.5 >= SMALLEST_SIDE


class PushAfter:
    """SDXL: an attention processor that pushes the output of the one it wraps."""

    def __init__(self, wrapped, pusher: Pusher):
        self.wrapped, self.pusher = wrapped, pusher

    def __call__(self, attn, hidden_states, *args, **kwargs):
        out = self.wrapped(attn, hidden_states, *args, **kwargs)
        return self.pusher(out) if self.pusher.on and self.pusher.touches(out.shape[1]) else out


class PushImageTokens(PushAfter):
    """FLUX: pushes only the image tokens of the output, before a joint block projects them."""

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, *args, **kwargs):
        call = (attn, hidden_states, encoder_hidden_states, *args)
        if not self.pusher.on:
            return self.wrapped(*call, **kwargs)
        if encoder_hidden_states is None:  # a single block: text and image in one row of tokens
            out, text = self.wrapped(*call, **kwargs), self.pusher.text_tokens
            return torch.cat([out[:, :text], self.pusher(out[:, text:])], dim=1)
        hook = attn.to_out[0].register_forward_pre_hook(lambda _, inputs: self.pusher(inputs[0]))
        try:
            return self.wrapped(*call, **kwargs)
        finally:
            hook.remove()


def install(denoiser, settings: NegToMe, family: str, guided: bool) -> Pusher:
    """Set the processors on a UNet (SDXL) or FLUX transformer, once; return what they share."""
    pusher = Pusher(settings, family, halves=2 if family == "sdxl" and guided else 1)
    wrap = PushImageTokens if family == "flux" else PushAfter
    processors = denoiser.attn_processors.items()
    denoiser.set_attn_processor({name: wrap(p, pusher) if _chosen(name, pusher) else p for name, p in processors})
    denoiser.register_forward_pre_hook(pusher.before_denoiser, with_kwargs=True)
    return pusher


def _chosen(name: str, pusher: Pusher) -> bool:
    """All of FLUX; of SDXL's up blocks the self-attention (the published code: the cross-attention too)."""
    if pusher.family == "flux":
        return True
    return name.startswith("up_blocks") and (pusher.published or ".attn1." in name)
