#!/bin/sh
# `npm test`: makes everything ready, then runs the stages check, fast, faults and e2e, or the ones named as arguments.
set -eu
cd "$(dirname "$0")/.."
. scripts/node.sh
node scripts/packages.mjs
node scripts/prepare.mjs
exec node scripts/test.ts "$@"
