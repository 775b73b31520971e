"""The daemon's side of the status page: it collects on the event loop what the page's threads show."""
