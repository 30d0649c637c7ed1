"""The command `keras-classics`: what each verb takes, apart from what it imports to do it."""
