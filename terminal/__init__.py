"""The door for operators: the commands beside a service. Writes through core; decides nothing."""
