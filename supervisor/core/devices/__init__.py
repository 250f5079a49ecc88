"""Device rules and the BPF programs for them, as data."""
