#!/bin/sh
# A compiler's output without a compiler: one line for each unit, a warning on stderr now and then.
. tools/lib.sh

step 'Compiling 48 units'
units='tower/base tower/stairs tower/gallery tower/lantern tower/door
lamp/wick lamp/oil lamp/flame lamp/shutter lamp/timer
optics/lens optics/prism optics/fresnel optics/mirror optics/focus
clock/gear clock/weight clock/chime clock/escapement
fog/horn fog/bell fog/sensor fog/whistle
sea/waves sea/tide sea/current sea/foam sea/salt sea/gulls
sky/stars sky/moon sky/clouds sky/aurora
radio/morse radio/antenna radio/weather radio/distress
ships/hull ships/sail ships/anchor ships/log ships/crew
keeper/lantern keeper/logbook keeper/tea keeper/cat
greeting/words greeting/beam'

count=0
for unit in $units; do
  count=$((count + 1))
  printf '%s[%2d/48]%s %sCC%s  src/%s.c\n' "$dim" $count "$off" "$green" "$off" "$unit"
  case $unit in
    optics/fresnel)
      warning src/optics/fresnel.c 118 fresnel_focus "unused variable 'ring' [-Wunused-variable]" \
        'int ring = 0;' '    ^~~~'
      ;;
    sea/tide)
      warning src/sea/tide.c 41 tide_at "comparison of integers of different signs [-Wsign-compare]" \
        'if (depth < moon_phase())' '    ~~~~~ ^ ~~~~~~~~~~~~'
      ;;
    keeper/cat)
      warning src/keeper/cat.c 9 cat_feed "function 'cat_feed' is never called, and the cat knows [-Wunused-function]" \
        'static void cat_feed(void)' '            ^~~~~~~~'
      ;;
  esac
  case $unit in
    sky/aurora | ships/crew) pause 2.2 ;;
    *) pause 0.75 ;;
  esac
done
printf '%s3 warnings%s, 0 errors\n' "$yellow" "$off"
