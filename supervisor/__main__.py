"""`python -m supervisor` is `vtapd`."""

from supervisor.cli import main

main()
