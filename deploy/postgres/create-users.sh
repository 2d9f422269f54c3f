#!/bin/sh
# Runs once, when the database's volume is empty: a user each for Temporal and for the
# ledger, so that neither can read the other's data. Temporal makes its own two databases.
set -eu
psql --set ON_ERROR_STOP=1 --username "${POSTGRES_USER:-postgres}" --dbname postgres <<'SQL'
\getenv temporal_password TEMPORAL_DB_PASSWORD
\getenv ledger_password LEDGER_DB_PASSWORD
CREATE ROLE temporal LOGIN CREATEDB PASSWORD :'temporal_password';
CREATE ROLE fanfold LOGIN PASSWORD :'ledger_password';
CREATE DATABASE fanfold OWNER fanfold ENCODING 'UTF8' TEMPLATE template0;
REVOKE ALL ON DATABASE fanfold FROM PUBLIC;
SQL
