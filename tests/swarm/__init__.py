"""Several machines, each with its own Docker and vtapd, joined to one swarm."""
