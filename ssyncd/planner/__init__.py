"""Deciding what to do: values in, values out, no I/O."""
