"""How containers, interfaces and device rules are attached and undone."""
