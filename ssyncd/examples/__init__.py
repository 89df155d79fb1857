"""Programs that show the library at work; each runs with `python -m ssyncd.examples.NAME` where `ssyncd login` was used."""
