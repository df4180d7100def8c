"""The state API on the wire: who may ask, what is answered, and the stream. FastAPI and Starlette live here alone."""
