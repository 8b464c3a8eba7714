"""Who may ask what, and how often: keys, limits, proxies, hosts, headers, logs. One ASGI layer around the app."""
