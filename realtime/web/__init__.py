"""HTTP and WebSocket: the only place that imports FastAPI, Starlette or uvicorn."""
