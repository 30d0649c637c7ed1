"""Does the file compute what the model computes."""
