"""Real DNS servers and tools as peers of the tests: started on loopback, judged by, compared with."""
