"""How the embedded models of the shapes world were trained; `python -m recipe` trains them again from a seed."""
