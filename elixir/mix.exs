# The Mix project of Concord's Elixir package.

Code.require_file("mix/compile_native.exs", __DIR__)

defmodule Concord.MixProject do
  use Mix.Project

  @source_url "https://github.com/concord-kv/concord"

  def project do
    [
      app: :concord,
      version: "0.1.0",
      elixir: "~> 1.14",
      compilers: [:concord_native] ++ Mix.compilers(),
      elixirc_paths: elixirc_paths(Mix.env()),
      start_permanent: Mix.env() == :prod,
      description: "Embedded, strongly consistent key-value store: one durable Raft node inside your program",
      source_url: @source_url,
      package: [name: "concord_kv", licenses: ["MIT"], links: %{"GitHub" => @source_url}],
      # No dependency at all, so that no Hex is needed to build, test or use it.
      deps: []
    ]
  end

  def application do
    [extra_applications: [:logger], mod: {Concord.Application, []}]
  end

  defp elixirc_paths(:test), do: ["lib", "test/support"]
  defp elixirc_paths(_), do: ["lib"]
end
