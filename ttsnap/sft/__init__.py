"""Finetuning one-step generators on assigned or random noise: data sets, generators, training, comparison."""
