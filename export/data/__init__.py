"""Samples for calibration, evaluation and training, and what makes them fit for it."""
