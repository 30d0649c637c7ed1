"""Rewrites of the neutral graph that leave what it computes unchanged."""
