"""Rewrites of the neutral graph that leave what it computes unchanged: one file each, in the order of `simplify`."""
