"""A storm over the whole machine: everything that can happen to containers, guests, daemon and Docker, at random.

`python -m tests.soak --minutes 15 --seed N`. The seed alone decides what is done and in which order; what it leads to
is what the model says, and the kernel and Docker are asked whether it came so.
"""
