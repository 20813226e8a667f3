"""The rules: what may happen next. Commands, pure decisions, tokens, keys, passwords, limits, use cases, jobs."""
