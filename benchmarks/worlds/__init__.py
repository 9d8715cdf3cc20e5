"""Simulated models in which it is known how good a prompt is; see README.md."""
