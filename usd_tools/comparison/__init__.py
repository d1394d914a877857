"""Texture-to-texture comparison in 3D: a recovered asset against the true one, point by point."""
