"""Coming over from another signer: its keys and what it knew of them, and the zone as it signed it.

`foreign` is the form that every signer's keys are brought into; one module per signer reads its files.
"""
