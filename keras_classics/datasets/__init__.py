"""What models are trained and measured on: labelled images in four fixed parts, read a batch at a time."""
