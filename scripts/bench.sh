#!/bin/sh
# `npm run bench`: makes everything ready, then measures (see tests/bench).
set -eu
cd "$(dirname "$0")/.."
. scripts/node.sh
node scripts/packages.mjs
node scripts/prepare.mjs
exec node tests/bench/main.ts "$@"
