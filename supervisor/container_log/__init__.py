"""The log of a guest's console, and what is done if it is not read.

The daemon does it while it runs, and the reaper while no daemon runs. So this imports little, and nothing of either.
"""
