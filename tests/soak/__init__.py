"""Random operations on a whole machine: everything that can happen to containers, guests, the daemon and Docker.

`python -m tests.soak --minutes 15 --seed N`. The seed alone decides the operations and their order; the model gives
the expected state, and the kernel and Docker are checked against it.
"""
