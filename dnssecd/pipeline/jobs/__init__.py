"""The jobs on a zone: load, re-sign, rekey, transfer, update, import, restore."""
