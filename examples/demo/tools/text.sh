#!/bin/sh
# Text that viewers get wrong.
. tools/lib.sh

printf 'Wide:          灯台は海を照らす  等塔  등대\n'
printf 'Right to left: מגדלור  منارة\n'
printf 'Combining:     e\314\201 o\314\210 n\314\203  (one column each)\n'
printf 'Emoji:         🌊 ⚓ 🐈 👩‍🚀 🏳️‍🌈\n'
printf 'Not UTF-8:     <\377\376> (two bytes no character begins with)\n'
printf 'Tabs:          a\tb\tccccccccc\td\n'
printf 'Markup:        <b>not bold</b> <script>never runs</script> &amp;\n'
printf 'A line of 20,000 characters: '
awk 'BEGIN { for (i = 0; i < 2000; i++) printf "~~~~^~~~~ "; print "end" }'
