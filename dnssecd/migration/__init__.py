"""Migration from another signer: its keys with their states.

``foreign`` defines the common form of keys; one module per signer reads its files.
"""
