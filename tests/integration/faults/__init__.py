"""What happens when something fails, disappears, is interrupted or is hostile."""
