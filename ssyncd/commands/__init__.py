"""The commands of `ssyncd`, by what they deal with; together with `ssyncd.cli` the only place that prints."""
