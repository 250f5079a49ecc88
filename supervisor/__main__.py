"""`python -m supervisor` is `vtapd`."""

from supervisor.cli.main import main

main()
