"""Simulated searches on a reward tensor: costs, methods, Monte Carlo, fitted schedules.

NumPy only. Start at `ttsnap.simulate.montecarlo.simulate` and `ttsnap.simulate.fit.fit_schedule`.
"""
