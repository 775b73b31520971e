"""Publishing: transfers out, NOTIFY, and watching secondaries and parents (evidence)."""
