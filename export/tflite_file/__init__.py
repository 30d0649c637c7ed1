"""Reading and running a finished TFLite file."""
