#!/bin/sh
# Becomes an agent of the server at VMO_SERVER.
here=$(cd "$(dirname "$0")" && pwd)
NODE_COMPILE_CACHE=$here/../../.cache/compile
export NODE_COMPILE_CACHE
exec "${VMO_NODE:-node}" --max-semi-space-size=4 "$here/src/main.ts" "$@"
