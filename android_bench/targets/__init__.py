"""The machines that models are measured on."""
