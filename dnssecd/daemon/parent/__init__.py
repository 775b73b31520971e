"""DS automation: channels to the parent, polls, and their judgement."""
