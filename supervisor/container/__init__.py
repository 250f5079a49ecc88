"""One container: observe it, plan, and apply one action at a time."""
