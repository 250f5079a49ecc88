"""vtapd as a service of a real systemd: its package, installed in a virtual machine that this folder builds and boots.

Only what needs PID 1, dpkg and Docker's systemd cgroup driver is tested here; all else is in tests/integration.
"""
