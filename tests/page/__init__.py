"""The status page in a real Chromium, against the real routes and states that a test makes up."""
