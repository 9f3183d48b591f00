# What `mix format` formats, and how.
[
  inputs: [
    "{mix,.formatter}.exs",
    "{config,lib,mix,test}/**/*.{ex,exs}",
    "../benches/elixir/*.exs",
    "../tests/mixed/*.exs"
  ],
  line_length: 120
]
