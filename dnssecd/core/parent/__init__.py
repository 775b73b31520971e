"""What the parent of a zone is asked to do about its DS RRset, in every form."""
