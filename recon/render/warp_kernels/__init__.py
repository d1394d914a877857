"""Warp kernels of the rendering backend, one operation per file, with hand-written adjoints.

Every kernel's first argument is `start` and its index `start + wp.tid()`; see `recon.warp_runtime.launch`.
"""
