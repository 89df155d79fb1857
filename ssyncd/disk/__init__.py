"""The folder on this machine: watching, looking and changing."""
