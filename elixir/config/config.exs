# Settings of this project's own tests and benchmarks; those of a program that uses Concord are in its own configuration.

import Config

if config_env() == :test do
  config :concord, durability: :memory
  config :logger, level: :warning
end
