"""Orthogonal noise: maps and rotations, orbits of a Gaussian draw, optimising on them, diagnostics.

Tensors in, tensors out; generators and rewards come from the caller.
"""
