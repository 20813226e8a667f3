#!/bin/bash
# Run once by the database's image, when its folder is empty: the role that the service runs as owns nothing.
set -euo pipefail
psql --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" \
  --set password="$(cat /run/secrets/service_password)" <<'SQL'
CREATE ROLE ledger LOGIN PASSWORD :'password';
SQL
