"""Published ImageNet weights: which there are, how their files are fetched, read and renamed, what goes in and out."""
