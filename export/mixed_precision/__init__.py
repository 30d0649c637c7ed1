"""Which operations of an int8 file stay in float, and what that costs."""
