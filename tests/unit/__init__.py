"""Tests of the pure core. They need no root, do not sleep, and read no file but the configuration."""
