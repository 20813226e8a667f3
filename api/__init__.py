"""The door for applications: routes that parse, call one use case, and turn its verdict into an answer."""
