#!/bin/sh
# Makes ready what is missing, then becomes an agent of the server at VMO_SERVER.
set -eu
person=$PWD
path_before=$PATH
cd "$(dirname "$0")/.."
root=$PWD
. scripts/node.sh
node scripts/prepare.mjs --no-web
VMO_NODE=$(command -v node)
export VMO_NODE
# As for the server: what we have put in front is none of the jobs'.
PATH=$path_before
export PATH
cd "$person"
exec sh "$root/apps/agent/run.sh" "$@"
