"""vtapd as a service of a real systemd: its package, installed in a machine that this folder builds and boots.

What only PID 1, dpkg and Docker's systemd cgroup driver do is proved here; all else is in tests/integration.
"""
