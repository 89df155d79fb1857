"""The language spoken with a Simperium server; pure, used by both sides."""
