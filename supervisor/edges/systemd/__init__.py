"""systemd: readiness, journal, D-Bus."""
