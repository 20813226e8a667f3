"""The door for people: pages that show the past and end families. Server-rendered; decides nothing."""
