"""A zone that another signer served becomes ours."""
