"""Figures, tables, the gallery of strips and the first page, from the files that the workflow leaves.

Start at `ttsnap.report.parts`: a function for each page or figure.
"""
