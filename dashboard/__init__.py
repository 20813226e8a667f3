"""The door for people: server-rendered pages over the same readers and use cases as the API."""
