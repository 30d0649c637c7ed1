"""What measures one model in one configuration, in a process of its own, and says so in one JSON document."""
