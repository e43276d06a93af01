#!/bin/sh
# Becomes the server.
here=$(cd "$(dirname "$0")" && pwd)
# Types stripped and code compiled once, not at every start: about a third of a start on a small machine.
NODE_COMPILE_CACHE=$here/../../.cache/compile
export NODE_COMPILE_CACHE
# What keeps its memory small. Measured over five floods of 160 MB: 94 MB idle and up to 365 MB without these, 60 MB and up to
# 210 MB with them, while another reader waited as long (docs/decisions/0013). One arena, because buffers are made in one
# thread and freed in another; the thresholds, because glibc else raises them until it gives nothing back.
added=
keep_small() { # name value: what the person has set stays
  eval "[ -n \"\${$1+set}\" ]" && return
  export "$1=$2"
  added="$added $1"
}
keep_small MALLOC_ARENA_MAX 1
keep_small MALLOC_MMAP_THRESHOLD_ 262144
keep_small MALLOC_TRIM_THRESHOLD_ 262144
# Jobs do not inherit these.
VMO_ADDED_VARIABLES=$added
export VMO_ADDED_VARIABLES
exec "${VMO_NODE:-node}" --max-semi-space-size=4 "$here/src/main.ts" "$@"
