"""vtapd: gives Docker containers a guest.

Three rings. `supervisor.core` decides and touches nothing. `supervisor.edges` touches one kernel interface or one
library each and decides nothing. The modules beside them wire both together. `make lint` enforces it.
"""
