"""The app's side of a request: from its response's header to a connection."""
