# Targets that try out the log viewer. Included by the Makefile.

# How many lines `flood` prints
FLOOD_LINES ?= 200000

.PHONY: colours
colours: ## Every colour and style a terminal knows
	@sh tools/colours.sh

.PHONY: streams
streams: ## Lines on stdout and stderr in turn, one each half second
	@sh tools/streams.sh

.PHONY: flood
flood: ## Print FLOOD_LINES lines as fast as they go
	@awk -v n=$(FLOOD_LINES) 'BEGIN { for (i = 1; i <= n; i++) printf "%7d  The light turns; the sea is calm; all is well.\n", i }'

.PHONY: text
text: ## Wide characters, right-to-left words, emoji, a very long line
	@sh tools/text.sh
