"""Fakes of Docker and of QMP that can vanish, fragment and lie. The real servers pass the same contract tests."""
