"""From a float graph to one with 8-bit weights and ranges: after training, or by training."""
