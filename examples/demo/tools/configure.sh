#!/bin/sh
# The only part of the demo that tells facts about this machine.
. tools/lib.sh

printf '%s' "$yellow"
cat <<'ART'
            .
         \  |  /
       '-. .-. .-'
      ----(   )----      P H A R O S
         /|'-'|\         a lighthouse that greets you
          |[ ]|
          |   |          This is a demo. It compiles nothing and downloads nothing:
         /|   |\         shell scripts print what a real build would print.
   ~~~~~/_|___|_\~~~~~
ART
printf '%s' "$off"

step 'Looking around'
check() {
  printf 'checking for %-12s ' "$1 …"
  pause 0.15
  if found=$(command -v "$1" 2>/dev/null); then
    printf '%s%s%s\n' "$green" "$found" "$off"
  else
    printf '%snot here (not needed)%s\n' "$dim" "$off"
  fi
}
for tool in sh make awk cc git ssh python3; do check "$tool"; done
printf 'checking for %-12s %s%s %s%s\n' 'system …' "$green" "$(uname -s)" "$(uname -m)" "$off"
