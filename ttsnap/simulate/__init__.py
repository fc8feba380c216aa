"""What a search method would have done on a reward tensor: costs, methods, Monte Carlo, schedules.

NumPy only. Start at `ttsnap.simulate.montecarlo.simulate` and `ttsnap.simulate.fit.fit_schedule`.
"""
