"""A Docker and a QMP server that can vanish, fragment and lie, held to the same contract tests as the real ones."""
