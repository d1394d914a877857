"""Broken inputs by the hundred: see test_malformed.py."""
