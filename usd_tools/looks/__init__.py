"""Looks: material networks of a stage as plain data, and their values at texture coordinates."""
