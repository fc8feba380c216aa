"""The losses of noise-aware finetuning, over groups: [P prompts, C candidates]."""

import torch
import torch.nn.functional as F


def standardise(values: torch.Tensor, over: str) -> torch.Tensor:
    """Zero mean and unit variance over the batch or within each prompt; "none" changes nothing."""
    if over == "none":
        return values
    dims = (0, 1) if over == "batch" else (1,)
    centred = values - values.mean(dim=dims, keepdim=True)
    return centred / centred.square().mean(dim=dims, keepdim=True).add(1e-6).sqrt()


def terms(loss: str, target: torch.Tensor) -> int:
    """How many terms a loss is the mean of, so that the parts of a batch can be weighted."""
    if loss == "mse":
        return target.numel()
    first, second = torch.triu_indices(target.shape[1], target.shape[1], offset=1)
    return int((target[:, first] != target[:, second]).sum())


def mse(predicted: torch.Tensor, target: torch.Tensor, over: str = "none") -> torch.Tensor:
    """Mean squared error after standardising both sides alike."""
    return F.mse_loss(standardise(predicted, over), standardise(target, over))


def preference(
    predicted: torch.Tensor, target: torch.Tensor, over: str = "none", temperature: float = 0.5
) -> torch.Tensor:
    """Bradley–Terry: −log σ((r_w − r_l)/T) over all pairs of one prompt whose targets differ."""
    predicted = standardise(predicted, over)
    first, second = torch.triu_indices(target.shape[1], target.shape[1], offset=1)
    sign = (target[:, first] - target[:, second]).sign()
    margin = sign * (predicted[:, first] - predicted[:, second]) / temperature
    counted = sign != 0
    return -F.logsigmoid(margin)[counted].sum() / counted.sum().clamp(min=1)
