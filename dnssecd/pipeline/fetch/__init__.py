"""The fetcher: a separate process that receives transfers in."""
