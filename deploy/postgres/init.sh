#!/bin/bash
# Run once by the Postgres image, on an empty data folder: the roles, and a database for each.
set -euo pipefail

run() { psql -v ON_ERROR_STOP=1 -q --username "$POSTGRES_USER" --dbname postgres "$@"; }

run -f /roles.sql
for service in order_service inventory_service payment_service projector; do
    run -v role="$service" -v password="$SERVICE_PASSWORD" <<'SQL'
alter role :"role" password :'password';
create database :"role" owner :"role";
SQL
done
