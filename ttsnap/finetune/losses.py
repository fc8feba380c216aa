"""The losses of noise-aware finetuning, over groups: [P prompts, C candidates]."""

import torch
import torch.nn.functional as F


def standardise(values: torch.Tensor, over: str) -> torch.Tensor:
    """Zero mean and unit variance over the batch or within each prompt; "centre": zero mean within each prompt alone.

    "none" changes nothing.
    """
    if over == "none":
        return values
    dims = (0, 1) if over == "batch" else (1,)
    centred = values - values.mean(dim=dims, keepdim=True)
    if over == "centre":
        return centred
    return centred / centred.square().mean(dim=dims, keepdim=True).add(1e-6).sqrt()


def terms(loss: str, target: torch.Tensor) -> int:
    """How many terms a loss averages, by which the parts of a batch are weighted."""
    return target.numel() if loss == "mse" else int(_pair_differences(target).count_nonzero())


def mse(predicted: torch.Tensor, target: torch.Tensor, over: str = "none") -> torch.Tensor:
    """Mean squared error after standardising both sides alike."""
    return F.mse_loss(standardise(predicted, over), standardise(target, over))


def preference(
    predicted: torch.Tensor, target: torch.Tensor, over: str = "none", temperature: float = 0.5
) -> torch.Tensor:
    """Bradley–Terry: −log σ((r_w − r_l)/T) over all pairs of one prompt whose targets differ."""
    sign = _pair_differences(target).sign()
    margin = sign * _pair_differences(standardise(predicted, over)) / temperature
    counted = sign != 0
    return -F.logsigmoid(margin)[counted].sum() / counted.sum().clamp(min=1)


def _pair_differences(values: torch.Tensor) -> torch.Tensor:
    """values[:, i] − values[:, j] for all i < j, [P, C·(C−1)/2]."""
    first, second = torch.triu_indices(values.shape[1], values.shape[1], offset=1)
    return values[:, first] - values[:, second]
