"""Keys that never leave their token: PKCS#11 key stores and their pool of worker processes."""
