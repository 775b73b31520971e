"""The daemon process: served zones, their jobs and secondaries, and the commands on them."""
