"""A zone's content: views, differences, cuts, and what is wrong with it."""
