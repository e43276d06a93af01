#!/bin/sh
# `npm start`: makes ready what is missing (Node 24, packages, the web UI), then becomes the server.
set -eu
# The person's directory is the first workspace; npm changes to the project's root before it comes here.
INIT_CWD=${INIT_CWD:-$PWD}
export INIT_CWD
cd "$(dirname "$0")/.."
path_before=$PATH
. scripts/node.sh
node scripts/prepare.mjs
node=$(command -v node)

# Jobs inherit the server's environment: give it the person's own one, without what npm and we have added.
PATH=$path_before
if [ -n "${npm_lifecycle_event:-}" ]; then
  # A killed npm passes no signal on, so the server watches for its end itself.
  VMO_EXIT_WITH_PARENT=1
  export VMO_EXIT_WITH_PARENT
  # npm puts its own folders first.
  while [ "${PATH#*:}" != "$PATH" ]; do
    case ${PATH%%:*} in
      */node_modules/.bin | */node-gyp-bin) PATH=${PATH#*:} ;;
      *) break ;;
    esac
  done
  unset NODE COLOR $(env | sed -n 's/^\(npm_[A-Za-z0-9_]*\)=.*/\1/p')
fi
export PATH
VMO_NODE=$node
export VMO_NODE
exec sh apps/server/run.sh "$@"
