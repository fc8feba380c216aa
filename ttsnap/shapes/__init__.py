"""The shapes world: a small real text-to-image task with an objective checker, and the models trained on it."""
