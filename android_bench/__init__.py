"""Latency of TFLite models on real targets, with a proof that each target computed the right thing."""
