"""Figures, tables, the gallery of strips and the first page, from the files the workflow leaves.

Start at `ttsnap.commands.report`: one `--part` for each page or figure.
"""
