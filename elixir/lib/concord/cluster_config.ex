defmodule Concord.ClusterConfig do
  @moduledoc false
  # What makes a store one member of several: from `cluster:` and `cluster_cookie:`, the environment, and, in
  # development, the Erlang node. `Concord.Cluster` documents it for users.

  require Logger

  alias Concord.{Config, Secret}

  @derive {Inspect, except: [:cookie]}
  @enforce_keys [:listen, :cookie]
  defstruct [
    :listen,
    :cookie,
    :advertise,
    :name,
    :multicast,
    :tls,
    seeds: [],
    bootstrap_expect: 0,
    election_timeout_ms: 200,
    promote: true
  ]

  @type t :: %__MODULE__{}

  @settings [
    :advertise,
    :bootstrap_expect,
    :election_timeout_ms,
    :listen,
    :multicast,
    :name,
    :promote,
    :seeds,
    :tls
  ]

  @name_bytes_max 64

  @listen "127.0.0.1:7400"
  @group "239.255.67.79"
  @port 45_892

  @doc """
  The cluster of a store; nil when it is none.

  `given` is its `cluster:` setting. Without one only the store that the whole VM shares becomes a member, or two stores
  of one VM would meet in one cluster. The Erlang node alone makes one only while Mix runs it in development: a release
  has a name whether anybody wants a cluster or not, and what it belongs to must not depend on who else is on the network.
  And only if it is durable: a store that forgets would leave a dead member behind whenever it stops.
  """
  @spec read(term(), term(), shared?: boolean(), durable?: boolean()) :: t() | nil
  def read(given, cookie, store)

  def read(false, _cookie, _store), do: nil

  def read(nil, cookie, shared?: shared?, durable?: durable?) do
    cond do
      not shared? -> nil
      Config.environment("CONCORD_LISTEN") -> build([], [], cookie)
      durable? and Node.alive?() and development?() -> build_around_node(cookie)
      true -> unused(cookie)
    end
  end

  def read(given, cookie, _store) do
    unless Keyword.keyword?(given), do: Config.invalid(:cluster, given, "a keyword list, or false")

    # Names only: somebody may have put the secret here.
    for {key, _} <- given, key not in @settings do
      raise ArgumentError,
            "config :concord, cluster: there is no setting #{inspect(key)}, " <>
              "there are #{Enum.map_join(@settings, ", ", &inspect/1)} (and cluster_cookie: beside cluster:)"
    end

    build(given, [], cookie)
  end

  @doc """
  As `Concord.Native.open/1` takes it.
  """
  def to_native(nil), do: nil

  def to_native(%__MODULE__{} = cluster) do
    expect = if cluster.bootstrap_expect == :auto, do: 1, else: cluster.bootstrap_expect

    {cluster.listen, cluster.advertise, cluster.name, cluster.seeds, expect, cluster.cookie, cluster.multicast,
     cluster.tls, cluster.election_timeout_ms, cluster.promote}
  end

  @doc """
  The secret of all members, the environment's when none is given; empty when there is none.
  """
  def cookie(cookie) do
    Secret.reveal(cookie, "config :concord, cluster_cookie") || Config.environment("CONCORD_COOKIE") || ""
  end

  @doc """
  Certificates as the native library takes them, from a keyword list or the environment.
  """
  def tls(nil) do
    case Enum.map(["CERTIFICATE", "PRIVATE_KEY", "AUTHORITY"], &Config.environment("CONCORD_TLS_#{&1}")) do
      [nil, nil, nil] ->
        nil

      files ->
        if nil in files do
          raise ArgumentError,
                "TLS needs CONCORD_TLS_CERTIFICATE, CONCORD_TLS_PRIVATE_KEY and CONCORD_TLS_AUTHORITY together"
        end

        List.to_tuple(Enum.map(files, &Path.expand/1) ++ [false])
    end
  end

  def tls(false), do: nil

  def tls(given) do
    wanted = "[certificate: path, private_key: path, authority: path, verify_node_id: true or false]"
    names = [:certificate, :private_key, :authority, :verify_node_id]

    unless Keyword.keyword?(given) and Keyword.keys(given) -- names == [],
      do: Config.invalid("cluster: :tls", given, wanted)

    files = for name <- [:certificate, :private_key, :authority], do: given[name]
    unless Enum.all?(files, &is_binary/1), do: Config.invalid("cluster: :tls", given, wanted)
    verify = Keyword.get(given, :verify_node_id, false)
    unless is_boolean(verify), do: Config.invalid("cluster: :tls", given, wanted)
    List.to_tuple(Enum.map(files, &Path.expand/1) ++ [verify])
  end

  @doc """
  Addresses, `"host:port"` each, from a list or from text with commas between them.
  """
  def addresses(text, key) when is_binary(text) do
    text |> String.split(",") |> Enum.map(&String.trim/1) |> Enum.reject(&(&1 == "")) |> addresses(key)
  end

  def addresses(list, key) do
    if is_list(list) and Enum.all?(list, &text?/1),
      do: list,
      else: Config.invalid(key, list, "a list of \"host:port\"")
  end

  # Not called by its name: this package does not need Mix.
  defp development? do
    Code.ensure_loaded?(Mix) and System.get_env("RELEASE_NAME") == nil and apply(Mix, :env, []) == :dev
  rescue
    # It is in the path, and does not run.
    _ -> false
  end

  # Distributed Erlang in development: the nodes of one machine or network with the same cookie become one cluster. Its
  # connections are Concord's own; nothing is sent through Erlang's distribution.
  defp build_around_node(cookie) do
    [_, host] = String.split(Atom.to_string(node()), "@", parts: 2)

    if resolves?(host) do
      # The port may be any: the others hear of it.
      around = [
        listen: if(String.contains?(host, ":"), do: "[#{host}]:0", else: "#{host}:0"),
        bootstrap_expect: :auto,
        multicast: true
      ]

      secret = cookie || Config.environment("CONCORD_COOKIE") || Atom.to_string(Node.get_cookie())
      build([], around, secret)
    else
      Logger.warning(
        "Concord: the host of #{node()} has no address, so this node stays alone; " <>
          "name the VM with one that has, or set config :concord, cluster: [listen: ...] or cluster: false"
      )

      nil
    end
  end

  defp resolves?(host) do
    host = String.to_charlist(host)
    Enum.any?([:inet, :inet6], &match?({:ok, _}, :inet.getaddr(host, &1)))
  end

  defp build(given, around, cookie) do
    %__MODULE__{
      listen: text(setting(given, around, :listen, "LISTEN", @listen), :listen),
      cookie: cookie(cookie),
      advertise: text(setting(given, around, :advertise, "ADVERTISE", nil), :advertise),
      name: name(setting(given, around, :name, "NODE_NAME", node_name())),
      seeds: addresses(setting(given, around, :seeds, "SEEDS", []), "cluster: :seeds"),
      bootstrap_expect: expect(setting(given, around, :bootstrap_expect, "BOOTSTRAP_EXPECT", 0)),
      multicast: multicast(setting(given, around, :multicast, "MULTICAST", nil)),
      tls: tls(given[:tls]),
      election_timeout_ms: election_timeout_ms(Keyword.get(given, :election_timeout_ms, 200)),
      promote: promote(Keyword.get(given, :promote, true))
    }
  end

  defp setting(given, around, key, variable, default) do
    case Keyword.fetch(given, key) do
      {:ok, value} -> value
      :error -> Config.environment("CONCORD_" <> variable) || Keyword.get(around, key, default)
    end
  end

  # One that is too long gives way to the address.
  defp node_name do
    name = Atom.to_string(node())
    if Node.alive?() and byte_size(name) <= @name_bytes_max, do: name
  end

  defp text?(text), do: is_binary(text) and String.valid?(text)

  defp text(nil, key) when key != :listen, do: nil

  defp text(text, key) do
    if text?(text), do: text, else: Config.invalid("cluster: #{inspect(key)}", text, "\"host:port\"")
  end

  defp name(nil), do: nil
  defp name(name) when is_atom(name), do: Atom.to_string(name)
  defp name(name), do: if(text?(name), do: name, else: Config.invalid("cluster: :name", name, "text"))

  defp expect(:auto), do: :auto
  defp expect(number) when number in 0..9, do: number

  defp expect(text) when is_binary(text) do
    case Integer.parse(text) do
      {number, ""} when number in 0..9 -> number
      _ -> Config.invalid("cluster: :bootstrap_expect (CONCORD_BOOTSTRAP_EXPECT)", text, "0 to 9")
    end
  end

  defp expect(other), do: Config.invalid("cluster: :bootstrap_expect", other, "0 to 9")

  defp multicast(off) when off in [nil, false, "0", "false"], do: nil
  defp multicast(on) when on in [true, "1", "true"], do: {@group, @port}

  defp multicast(given) do
    with true <- Keyword.keyword?(given) and Keyword.keys(given) -- [:group, :port] == [],
         {group, port} = {Keyword.get(given, :group, @group), Keyword.get(given, :port, @port)},
         true <- is_binary(group) and port in 1..65_535,
         {:ok, _} <- :inet.parse_ipv4strict_address(String.to_charlist(group)) do
      {group, port}
    else
      _ -> Config.invalid("cluster: :multicast", given, "true, false or [group: \"#{@group}\", port: #{@port}]")
    end
  end

  defp election_timeout_ms(ms) when is_integer(ms) and ms > 0, do: ms
  defp election_timeout_ms(other), do: Config.invalid("cluster: :election_timeout_ms", other, "100 to 60000")

  defp promote(promote) when is_boolean(promote), do: promote
  defp promote(other), do: Config.invalid("cluster: :promote", other, "true or false")

  # A secret of members is no use to a store that is alone, and whoever set it meant a cluster.
  defp unused(nil), do: nil

  defp unused(_cookie) do
    Logger.warning(
      "config :concord, cluster_cookie: this store is alone; set cluster: [listen: ..., seeds: ...] to make it " <>
        "a member of a cluster (in development it is enough to give the VM a name: --name n1@127.0.0.1)"
    )

    nil
  end
end
