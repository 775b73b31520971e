"""A zone's content: views, differences, zone cuts, and checks."""
