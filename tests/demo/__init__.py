"""`make demo`: the main job from start to end on real input, as a user would do it, each step checked.

It changes only what it made itself: its container and image on the user's Docker if one answers, else on its own
Docker. What it makes is written down before it is made (`leftovers`), so Ctrl-C, a failure, a killed demo and
`make demo-stop` all clean up the same way.
"""
