"""How the daemon starts, adopts guests, reloads, and keeps its records."""
