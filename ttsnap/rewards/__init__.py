"""Reward models: (images in [0,1], prompts) → one differentiable value per image, behind one call."""

from ttsnap.rewards.base import Reward, load_reward

__all__ = ["Reward", "load_reward"]
