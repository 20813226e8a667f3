#!/bin/bash
# Makes the secrets that compose.yaml takes from files, each once: a second call changes nothing.
set -euo pipefail
cd "$(dirname "$0")"
umask 077
mkdir -p secrets
for name in owner_password service_password; do
  [ -e "secrets/$name" ] || openssl rand -hex 24 | tr -d '\n' >"secrets/$name"
done
[ -e secrets/master_key ] || echo "1:$(openssl rand -hex 32)" >secrets/master_key
echo "postgresql+asyncpg://ledger_owner:$(cat secrets/owner_password)@db/ledger" >secrets/owner_url
echo "postgresql+asyncpg://ledger:$(cat secrets/service_password)@db/ledger" >secrets/service_url
# Without an orchestrator, secrets are files as they are here: the service's user must be able to read its own.
chmod 0644 secrets/owner_url secrets/service_url secrets/master_key secrets/service_password
chmod 0711 secrets
