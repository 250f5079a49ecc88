"""The Linux kernel: namespaces, links, cgroups, processes, files."""
