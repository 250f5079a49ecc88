"""What guests of each kind are given, what they print, and how they end."""
