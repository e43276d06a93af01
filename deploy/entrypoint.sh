#!/bin/sh
# Starts the server in a container. Secrets may come as files (VMO_TOKEN_FILE, DATABASE_URL_FILE), as Docker and
# Kubernetes mount them, so that they stand in no environment that an inspection shows.
set -eu

fail() {
  echo "vmo: $1" >&2
  exit 1
}

if [ -n "${VMO_TOKEN_FILE:-}" ]; then
  [ -r "$VMO_TOKEN_FILE" ] || fail "VMO_TOKEN_FILE is \"$VMO_TOKEN_FILE\": it takes the path of a readable file"
  VMO_TOKEN=$(cat "$VMO_TOKEN_FILE")
  export VMO_TOKEN
fi
if [ -n "${DATABASE_URL_FILE:-}" ]; then
  [ -r "$DATABASE_URL_FILE" ] || fail "DATABASE_URL_FILE is \"$DATABASE_URL_FILE\": it takes the path of a readable file"
  DATABASE_URL=$(cat "$DATABASE_URL_FILE")
  export DATABASE_URL
fi
# Meant for this server, not for what its jobs start.
unset VMO_TOKEN_FILE DATABASE_URL_FILE
exec sh /app/apps/server/run.sh "$@"
