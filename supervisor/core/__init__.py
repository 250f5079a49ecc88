"""What is decided, as plain functions over plain values: no I/O, no clock of its own, no asyncio."""
