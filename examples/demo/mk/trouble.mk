# Targets that go wrong, or on and on. Included by the Makefile.

.PHONY: broken
broken: ## Fail after a few seconds, with errors on stderr and exit code 2
	@sh tools/broken.sh

.PHONY: watch
watch: ## Keep the light burning for ten minutes: made to be cancelled
	@exec sh tools/watch.sh

.PHONY: stubborn
stubborn: ## Ignore the polite signal (SIGTERM): cancelling takes the whole grace time
	@exec sh tools/stubborn.sh
