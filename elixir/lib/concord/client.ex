defmodule Concord.Client do
  @moduledoc """
  Reaches a cluster without being a member of it: nothing is kept here, all verbs of `Concord` work with `store:`.

      children = [
        {Concord.Client, name: MyApp.Store, addresses: ["10.0.0.1:7400", "10.0.0.2:7400"], cookie: &MyApp.secret/0}
      ]

      Concord.put("user:1001", %{name: "Alice"}, store: MyApp.Store)
      Concord.get("user:1001", store: MyApp.Store)

  It follows the leader, survives fail-over, and spreads reads at level `:eventual` over the members.

  With `data_dir:` it reaches the store that another program of the same user has open on this machine, through the socket
  `concord.sock` there, with every right and without secret (verbs with `token:` answer `:invalid_config` there):

      {Concord.Client, name: MyApp.Store, data_dir: "/var/lib/concord"}

  | option | meaning | default |
  |--|--|--|
  | `addresses` | `"host:port"` of some members, as a list or with commas between them; the others are learned from them | |
  | `data_dir` | directory of a store that is open on this machine, instead of `addresses` | |
  | `token` | what it may do, instead of the secret (see `Concord.Token`): text, or a function that gives it | `CONCORD_TOKEN` |
  | `cookie` | the cluster's secret, which allows everything: text, or a function that gives it | `CONCORD_COOKIE`, unless there is a token |
  | `name` | what the verbs take as `store:`; `Concord` makes it the store that they take by themselves (with `config :concord, autostart: false`) | `Concord.Client` |
  | `tls` | as that of a member, see `Concord.Cluster` | `CONCORD_TLS_*`, else none |
  | `default_read_consistency` | level of reads that name none | `CONCORD_READ_CONSISTENCY`, else `:leader` |
  | `compression` | see `Concord.Compression` | on |
  | `connect_timeout_ms` | longest wait for the first member to answer, when it starts | 5,000 |

  Secrets are not shown in supervisors' reports. A verb with `token:` goes over a connection of its own, which the first such
  call makes; it may do what that token allows, not what `token` and `cookie` here allow.
  """

  alias Concord.{ClusterConfig, Config, Native, Secret, Store}

  @options [
    :addresses,
    :compression,
    :connect_timeout_ms,
    :cookie,
    :data_dir,
    :default_read_consistency,
    :name,
    :tls,
    :token
  ]

  @doc """
  For supervising a client; see above for the options.
  """
  @spec child_spec(keyword()) :: Supervisor.child_spec()
  def child_spec(options) do
    %{
      id: {__MODULE__, Keyword.get(options, :name, __MODULE__)},
      start: {__MODULE__, :start_link, [Secret.hide(options)]},
      shutdown: 30_000
    }
  end

  @doc """
  Starts a client that is linked to the caller, and returns when a member has answered.

  Fails with a `Concord.Error` of kind `:timeout` when nobody answers, `:unauthorized` when the secret is not the
  cluster's or the token is not valid, `:noproc` when no store is open in `data_dir`, `:io` when this user may not reach it,
  `:invalid_config`.
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
    data_dir = data_dir(options[:data_dir], addresses)
    {cookie, token} = secrets(options, data_dir)
    level = Config.consistency(options)
    compression = options |> Keyword.get(:compression, []) |> Config.compression() |> Config.compression_to_native()
    timeout_ms = Config.positive(options, :connect_timeout_ms, 5_000)
    # A socket of this machine needs none.
    tls = unless data_dir, do: ClusterConfig.tls(options[:tls])

    with {:error, {kind, message}} <-
           Native.connect({data_dir, addresses, cookie, token, tls, level, compression, timeout_ms}) do
      {:error, %Concord.Error{kind: kind, message: message}}
    end
  end

  defp data_dir(nil, _addresses), do: nil

  defp data_dir(dir, addresses) do
    unless is_binary(dir), do: Config.invalid(:data_dir, dir, "a path")

    unless addresses == [],
      do: raise(ArgumentError, "Concord.Client: give either data_dir: or addresses:, not both")

    Path.expand(dir)
  end

  # What is given goes before the environment, and a token before the cookie. The socket of a directory takes neither.
  defp secrets(options, data_dir) do
    {cookie, token} = {options[:cookie], Secret.reveal(options[:token], "Concord.Client, token")}

    cond do
      token -> {Secret.reveal(cookie, "Concord.Client, cookie") || "", token}
      data_dir -> {Secret.reveal(cookie, "Concord.Client, cookie") || "", nil}
      cookie -> {ClusterConfig.cookie(cookie), nil}
      token = Config.environment("CONCORD_TOKEN") -> {"", token}
      true -> {ClusterConfig.cookie(nil), nil}
    end
  end
end
