"""Noise-aware finetuning of a reward: curriculum, losses, alignment metrics."""
