"""Trust anchors that are published: files for a web server, and a look at what it serves."""
