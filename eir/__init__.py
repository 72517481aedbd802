"""Network EIR: enforces a national handset registry in the mobile networks.

    attach ──► identity ──► facts ──► verdict
    feed ──► delta ──► journal ──► tables (next generation) ──► published

`ARCHITECTURE.md` is the map.
"""

__version__ = "0.1.0"
