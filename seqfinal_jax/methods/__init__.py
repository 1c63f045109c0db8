"""Methods as recipes of stages.

`names.py` alone is free of JAX, for the analysis; `catalogue.py` holds all recipes.
"""
