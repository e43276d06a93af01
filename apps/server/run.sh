#!/bin/sh
# Becomes the server.
here=$(cd "$(dirname "$0")" && pwd)
# Types stripped and code compiled once, not at every start: about a third of a start on a small machine.
NODE_COMPILE_CACHE=$here/../../.cache/compile
export NODE_COMPILE_CACHE
# What keeps its memory small. Measured over four floods of 160 MB: 98 MB idle, up to 388 MB, 358 MB
# for ever after without these; 82, 227 and 102 MB with them, at the same speed. One arena, because buffers are made in one
# thread and freed in another; the thresholds, because glibc else raises them until it gives nothing back.
added=
keep_small() { # name value: what the person has set stays
  eval "[ -n \"\${$1+set}\" ]" && return
  export "$1=$2"
  added="$added $1"
}
keep_small MALLOC_ARENA_MAX 1
keep_small MALLOC_MMAP_THRESHOLD_ 65536
keep_small MALLOC_TRIM_THRESHOLD_ 65536
# Jobs do not inherit these.
VMO_ADDED_VARIABLES=$added
export VMO_ADDED_VARIABLES
exec "${VMO_NODE:-node}" --max-semi-space-size=2 "$here/src/main.ts" "$@"
