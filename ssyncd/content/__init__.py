"""What happens to the bytes of a file: cutting, naming, compressing; pure."""
