"""The server under the app, and how it stops."""
