"""Reward models: (images in [0,1], prompts) → one differentiable value per image, behind one call."""
