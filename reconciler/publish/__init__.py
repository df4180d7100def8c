"""The state API: read models as snapshots and patches, events, metrics. The only room with asyncio in it."""
