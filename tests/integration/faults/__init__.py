"""What happens when something fails, vanishes, is interrupted or means harm."""
