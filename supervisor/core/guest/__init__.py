"""A guest's specification, argument vector, end and restart."""
