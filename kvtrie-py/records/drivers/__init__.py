"""One driver for each engine: `RUNS`, `version()`, `source()` and `drive(rng, **settings)`."""
