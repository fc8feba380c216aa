"""ttsnap: the best image for a prompt out of a fixed amount of compute."""

__version__ = "0.1.0"
