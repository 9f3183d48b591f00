defmodule Concord.Client do
  @moduledoc """
  Reaches a cluster without being a member of it: nothing is kept here, all verbs of `Concord` work with `store:`.

      children = [
        {Concord.Client, name: MyApp.Store, addresses: ["10.0.0.1:7400", "10.0.0.2:7400"], cookie: &MyApp.secret/0}
      ]

      Concord.put("user:1001", %{name: "Alice"}, store: MyApp.Store)
      Concord.get("user:1001", store: MyApp.Store)

  It follows the leader, survives fail-over, and spreads reads at level `:eventual` over the members.

  | option | meaning | default |
  |--|--|--|
  | `addresses` | `"host:port"` of some members, as a list or with commas between them; the others are learned from them | |
  | `cookie` | the cluster's secret: text, or a function that gives it, which keeps it out of supervisors' reports | `CONCORD_COOKIE` |
  | `name` | what the verbs take as `store:`; `Concord` makes it the store that they take by themselves (with `config :concord, autostart: false`) | `Concord.Client` |
  | `tls` | as that of a member, see `Concord.Cluster` | `CONCORD_TLS_*`, else none |
  | `default_read_consistency` | level of reads that name none | `CONCORD_READ_CONSISTENCY`, else `:leader` |
  | `compression` | see `Concord.Compression` | on |
  | `connect_timeout_ms` | longest wait for the first member to answer, when it starts | 5,000 |
  """

  alias Concord.{ClusterConfig, Config, Native, Store}

  @options [:addresses, :compression, :connect_timeout_ms, :cookie, :default_read_consistency, :name, :tls]

  @doc """
  For supervising a client; see above for the options.
  """
  @spec child_spec(keyword()) :: Supervisor.child_spec()
  def child_spec(options) do
    %{
      id: {__MODULE__, Keyword.get(options, :name, __MODULE__)},
      start: {__MODULE__, :start_link, [options]},
      shutdown: 30_000
    }
  end

  @doc """
  Starts a client that is linked to the caller, and returns when a member has answered.

  Fails with a `Concord.Error` of kind `:timeout` when nobody answers, `:unauthorized` when the secret is not the
  cluster's, `:invalid_config`.
  """
  @spec start_link(keyword()) :: GenServer.on_start()
  def start_link(options) do
    options |> Keyword.put_new(:name, __MODULE__) |> Store.start_link(&connect/1)
  end

  defp connect(options) do
    for {key, _} <- options, key not in @options do
      raise ArgumentError,
            "Concord.Client: there is no option #{inspect(key)}, " <>
              "there are #{Enum.map_join(@options, ", ", &inspect/1)}"
    end

    addresses = ClusterConfig.addresses(Keyword.get(options, :addresses, []), :addresses)
    level = Config.consistency(options)
    compression = options |> Keyword.get(:compression, []) |> Config.compression() |> Config.compression_to_native()
    timeout_ms = Config.positive(options, :connect_timeout_ms, 5_000)
    tls = ClusterConfig.tls(options[:tls])

    with {:error, {kind, message}} <-
           Native.connect({addresses, ClusterConfig.cookie(options[:cookie]), tls, level, compression, timeout_ms}) do
      {:error, %Concord.Error{kind: kind, message: message}}
    end
  end
end
