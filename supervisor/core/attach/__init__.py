"""What a container gets: selection, plan and actions."""
