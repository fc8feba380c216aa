"""The shapes world: a small text-to-image task with an objective checker."""
