"""Orthogonal noise: maps and rotations, orbits of a Gaussian draw, optimising on them, diagnostics.

Tensors in, tensors out; what an objective is made of (a generator, a reward) comes from the caller.
"""
