"""Inputs and attacks that once went wrong, each as a test of its whole kind, against the real daemon."""
