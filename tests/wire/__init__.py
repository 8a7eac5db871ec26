"""Real servers on loopback, in front of every sender."""
