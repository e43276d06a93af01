#!/bin/sh
# Runs one of the project's own tools under the right Node: sh scripts/run.sh <tool> [argument …]
set -eu
cd "$(dirname "$0")/.."
. scripts/node.sh
node scripts/prepare.mjs --no-web
tool=$1
shift
exec "node_modules/.bin/$tool" "$@"
