"""Off-line KSKs: what a ceremony is asked to sign, what it answers, and the checks on both sides."""
