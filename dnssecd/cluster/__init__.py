"""Several signers: PostgreSQL holds the log of each zone and its owner. Only a daemon with ``[cluster]`` loads this.

``database`` connects, with a deadline for every call. ``schema`` has the tables. ``log`` appends and reads records,
``ownership`` and ``membership`` decide which node may append. Nothing outside this room imports psycopg or writes SQL
for PostgreSQL.
"""
