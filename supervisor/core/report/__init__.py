"""What is shown of containers and guests."""
