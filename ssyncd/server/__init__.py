"""The other program: a Simperium server with chunk storage (asyncio)."""
