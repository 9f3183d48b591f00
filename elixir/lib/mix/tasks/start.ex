# mix start: a node with its HTTP API.

defmodule Mix.Tasks.Start do
  @moduledoc """
  Runs this application, and with it its Concord node, until it is told to stop; the node serves the HTTP API.

      mix start
      CONCORD_API_PORT=8080 CONCORD_AUTH_ENABLED=true mix start

  Everything is configured as ever, see `Concord.Config`. Two things are different:

    * the API is served on port 4000 of this machine, unless `api_port:` or `CONCORD_API_PORT` say otherwise
    * metrics are served on port 9568, unless `prometheus_port:` or `CONCORD_PROMETHEUS_PORT` say otherwise, or
      `prometheus_enabled: false`. When somebody else has that port and nobody asked for it, they are on the API's port only

  `iex -S mix start` gives a prompt beside it. `mix concord.cluster` acts on the node that runs.
  """

  @shortdoc "Runs a Concord node with its HTTP API"

  use Mix.Task

  alias Concord.{Config, HttpConfig}

  @impl true
  def run([]) do
    Mix.Task.run("app.config")
    serve_by_default()
    Mix.Task.run("app.start")
    supervisor = Process.monitor(Concord.Supervisor)

    case Concord.serving() do
      {:ok, serving} -> announce(serving)
      {:error, :noproc} -> Mix.raise("no store runs; config :concord, autostart: false keeps it from starting")
    end

    unless iex?(), do: wait(supervisor)
  end

  def run(_arguments) do
    Mix.raise(
      "mix start takes no arguments: configure the node by config :concord or CONCORD_* variables, see mix help start"
    )
  end

  # What is configured, if only as `nil`, stays.
  defp serve_by_default do
    {api_port, prometheus_port} = HttpConfig.usual_ports()
    unless configured?(:api_port, "CONCORD_API_PORT"), do: Application.put_env(:concord, :api_port, api_port)

    unless configured?(:prometheus_enabled, "CONCORD_PROMETHEUS_PORT") or
             configured?(:prometheus_port, "CONCORD_PROMETHEUS_PORT") do
      if free?(prometheus_port),
        do: Application.put_env(:concord, :prometheus_port, prometheus_port),
        else: say("port #{prometheus_port} is taken, so metrics are served at the API's /metrics only")
    end
  end

  defp configured?(key, variable) do
    Application.fetch_env(:concord, key) != :error or Config.environment(variable) != nil
  end

  defp free?(port) do
    case :gen_tcp.listen(port, ip: {127, 0, 0, 1}, reuseaddr: true) do
      {:ok, socket} -> :gen_tcp.close(socket) == :ok
      {:error, _} -> false
    end
  end

  defp announce(%{api: api, metrics: metrics}) do
    if api, do: say("serving the API on #{api}/api/v1 (for people: #{api}/console, #{api}/api/docs)")
    if metrics, do: say("serving metrics on #{metrics}/metrics")

    if Config.auth_enabled?(),
      do: say("every request needs a token: mix concord.cluster token create"),
      else: say("no token is needed (auth_enabled is off)")
  end

  # A node that has failed for good is not worth waiting for.
  defp wait(supervisor) do
    receive do
      {:DOWN, ^supervisor, _, _, :shutdown} -> Process.sleep(:infinity)
      {:DOWN, ^supervisor, _, _, reason} -> Mix.raise("the node has stopped: #{inspect(reason)}")
    end
  end

  defp iex?, do: Code.ensure_loaded?(IEx) and IEx.started?()

  defp say(text), do: IO.puts(text)
end
