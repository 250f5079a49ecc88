"""vtapd: gives Docker containers a guest.

`cli` talks to `api` over a socket; `api` reads and commands the containers; `container` owns a `guest`; both act
through `edges`, of which each touches one kernel interface or one library and decides nothing; everything is decided
in `core`, which touches nothing. A package knows only those below it: `make lint` checks that.
"""
