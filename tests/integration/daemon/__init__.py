"""How the daemon starts, adopts, reloads, and keeps its records."""
