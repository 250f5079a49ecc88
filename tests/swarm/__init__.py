"""Several machines, each with a Docker and a vtapd of its own, joined to one swarm."""
