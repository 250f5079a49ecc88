"""The program `vtapd-reaper`: the parent of every guest's QEMU, one small process for each run-time folder.

A process that has exited stays a zombie until its parent has read its exit status, and the init of a pid namespace
cannot end before all zombies in it are gone (zap_pid_ns_processes in kernel/pid_namespace.c). So the parent of QEMU
must not be a daemon that can hang, or that ends while guests run. The reaper does as little as possible: it starts
QEMU for the daemon, reads exit statuses, and keeps them for the daemon or the next one. While no daemon runs, it makes
room in logs that are not read, for which guests would wait. It outlives the daemon, decides nothing, never waits for
the daemon, and imports little. It ends when it has neither a child nor a daemon.
"""
