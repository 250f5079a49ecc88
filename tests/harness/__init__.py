"""What the tests share: machines with their own dockerd, containers, daemons, and views of the kernel's state."""
