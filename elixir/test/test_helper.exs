# Starts ExUnit. The application has started its own store, in memory (config/config.exs).
ExUnit.start()
