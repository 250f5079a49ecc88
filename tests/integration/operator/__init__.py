"""What an operator types and reads: commands, events, metrics, screens."""
