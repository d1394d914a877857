"""Experiments as code: a grid of settings over scenes and seeds, run, compared and tabulated."""
