defmodule Concord.Config do
  @moduledoc """
  Settings of a store, from `config :concord` or from `Concord.child_spec/1`.

      config :concord,
        data_dir: "/var/lib/concord",
        default_read_consistency: :leader,
        compression: [enabled: true, algorithm: :zlib, threshold_bytes: 1024, level: 6]

  | setting | meaning | default |
  |--|--|--|
  | `data_dir` | directory that holds everything stored; made with mode 0700 | `CONCORD_DATA_DIR`, else `"data/<node name>"` (`"data/nonode"` without distribution) below the working directory |
  | `durability` | `:always`: on disk before a write is acknowledged; `{:interval, ms}`: at most so much later; `:memory`: never, the store is empty after a restart and `data_dir` is not touched | `CONCORD_DURABILITY` (`always`, `memory` or milliseconds), else `:always` |
  | `default_read_consistency` | level of reads that name none: `:eventual`, `:leader` or `:strong` | `CONCORD_READ_CONSISTENCY`, else `:leader` |
  | `compression` | see `Concord.Compression` | on, zlib, above 1,024 bytes, level 6 |
  | `value_bytes_max` | largest encoded value, 1,024 bytes to 64 MiB | 16 MiB |
  | `expiry_interval_ms` | how often expired records are removed from memory (they are invisible at once) | 1,000 |
  | `snapshot_log_bytes` | growth of the log after which a snapshot compacts it | 64 MiB |
  | `cluster` | what makes the store a member of a cluster, or false: see `Concord.Cluster` | `CONCORD_LISTEN` and others; in development, in a VM with a name, the nodes around it; else none |
  | `cluster_cookie` | secret that all members share: text, or a function that gives it | `CONCORD_COOKIE` |
  | `auth_enabled` | whether every verb needs a token, see `Concord.Token`; the variable turns it on as well where this is false | `CONCORD_AUTH_ENABLED`, else false |
  | `api_port` | port on which the HTTP API, the console and `/metrics` are served; 0 takes any, see `Concord.serving/1` | `CONCORD_API_PORT`, else not served |
  | `api_ip` | address of these ports: text or a tuple. Others than those of this machine need `auth_enabled` | `CONCORD_API_IP`, else `"127.0.0.1"` |
  | `prometheus_port` | port on which `/metrics` alone is served | `CONCORD_PROMETHEUS_PORT`; 9568 with `prometheus_enabled: true`; else not served |
  | `prometheus_enabled` | true: on port 9568 unless another is named; false: not, whatever port is named | |
  | `http` | `[tls: [certificate: path, private_key: path], body_bytes_max: 8_388_608, connections_max: 1024, allow_open: false]`; `allow_open` serves other addresses without tokens: everybody who reaches them reads and writes | `CONCORD_API_TLS_CERTIFICATE`, `CONCORD_API_TLS_PRIVATE_KEY`, else plain |
  | `local_socket` | serve programs of the same user on this machine, as `mix concord.cluster`, through `concord.sock` in `data_dir`, with every right | `CONCORD_LOCAL_SOCKET`, else true |
  | `telemetry_enabled` | count and time calls, see `Concord.metrics_text/1` | `CONCORD_TELEMETRY_ENABLED`, else true |
  | `hot_keys` | look for the keys that are used most, by a sample | `CONCORD_HOT_KEYS`, else true |
  | `metrics_keys` | show those keys in metrics as they are instead of as salted hashes; keys may be secrets | `CONCORD_METRICS_KEYS`, else false |
  | `autostart` | whether the application starts a store by itself | `true` |

  A store that is started beside the application's own (`Concord.child_spec/1`) takes these settings too, except `cluster` and
  those of HTTP, which each store has for itself. An embedded store opens no port that nobody asked for: two programs on one
  machine would be in each other's way. `mix start` serves the API on port 4000 and metrics on 9568 by itself.

  One process at a time holds a data directory: give each environment (and each node on one machine) its own.

  Settings of things that this release does not have: those on which somebody's security rests
  (`audit_log: [enabled: true]`, `tls`) keep the store from starting; all others are named in a
  warning, and so are settings that nobody knows. Settings that turn such things off are fine.
  """

  require Logger

  alias Concord.{ClusterConfig, HttpConfig}

  @enforce_keys [:data_dir]
  defstruct [
    :data_dir,
    name: Concord,
    durability: :always,
    default_read_consistency: :leader,
    compression: [enabled: true, algorithm: :zlib, threshold_bytes: 1024, level: 6],
    value_bytes_max: 16 * 1024 * 1024,
    expiry_interval_ms: 1_000,
    snapshot_log_bytes: 64 * 1024 * 1024,
    cluster: nil,
    auth_enabled: false,
    local_socket: true,
    telemetry_enabled: true,
    hot_keys: true,
    metrics_keys: false,
    http: nil
  ]

  @type t :: %__MODULE__{
          data_dir: Path.t() | nil,
          name: atom(),
          durability: :always | :memory | {:interval, pos_integer()},
          default_read_consistency: Concord.consistency(),
          compression: keyword(),
          value_bytes_max: pos_integer(),
          expiry_interval_ms: pos_integer(),
          snapshot_log_bytes: pos_integer(),
          cluster: Concord.ClusterConfig.t() | nil,
          auth_enabled: boolean(),
          local_socket: boolean(),
          telemetry_enabled: boolean(),
          hot_keys: boolean(),
          metrics_keys: boolean(),
          http: Concord.HttpConfig.t() | nil
        }

  @known [
    :api_ip,
    :api_port,
    :auth_enabled,
    :autostart,
    :cluster,
    :cluster_cookie,
    :compression,
    :data_dir,
    :default_read_consistency,
    :durability,
    :expiry_interval_ms,
    :hot_keys,
    :http,
    :local_socket,
    :metrics_keys,
    :name,
    :prometheus_enabled,
    :prometheus_port,
    :snapshot_log_bytes,
    :telemetry_enabled,
    :value_bytes_max
  ]

  @later_and_vital [:audit_log, :tls]

  @later [
    :cluster_name,
    :event_stream,
    :telemetry,
    :tracing_enabled,
    :tracing_exporter,
    :ttl
  ]

  @compression_keys [:enabled, :algorithm, :threshold_bytes, :level]

  @doc """
  The settings of the application, with `overrides` before them and the environment's `CONCORD_*` variables behind.

  Warnings are logged. Raises `ArgumentError` for a setting that cannot be.
  """
  @spec read(keyword()) :: t()
  def read(overrides \\ []) do
    settings = Keyword.merge(Application.get_all_env(:concord), overrides)
    refuse_later(settings)
    warn(settings)

    durability = durability(setting(settings, :durability, "CONCORD_DURABILITY", :always))
    name = name(Keyword.get(settings, :name, Concord))

    %__MODULE__{
      data_dir: if(durability != :memory, do: data_dir(settings)),
      name: name,
      durability: durability,
      default_read_consistency: consistency(settings),
      compression: compression(Keyword.get(settings, :compression, [])),
      value_bytes_max: positive(settings, :value_bytes_max, 16 * 1024 * 1024),
      expiry_interval_ms: positive(settings, :expiry_interval_ms, 1_000),
      snapshot_log_bytes: positive(settings, :snapshot_log_bytes, 64 * 1024 * 1024),
      cluster: cluster(settings, overrides, name, durability),
      auth_enabled: auth_enabled?(settings),
      local_socket: switch(settings, :local_socket, "CONCORD_LOCAL_SOCKET", true),
      telemetry_enabled: switch(settings, :telemetry_enabled, "CONCORD_TELEMETRY_ENABLED", true),
      hot_keys: switch(settings, :hot_keys, "CONCORD_HOT_KEYS", true),
      metrics_keys: switch(settings, :metrics_keys, "CONCORD_METRICS_KEYS", false),
      http:
        if(name == Concord,
          do: HttpConfig.read(settings, shared?: true),
          else: HttpConfig.read(overrides, shared?: false)
        )
    }
  end

  @doc false
  # The settings as `Concord.Native.open/1` takes them.
  def to_native(%__MODULE__{} = config) do
    durability =
      case config.durability do
        {:interval, interval_ms} -> interval_ms
        durability -> durability
      end

    {config.data_dir, durability, config.default_read_consistency, compression_to_native(config.compression),
     config.value_bytes_max, config.expiry_interval_ms, config.snapshot_log_bytes,
     ClusterConfig.to_native(config.cluster), {config.auth_enabled, config.local_socket},
     {config.telemetry_enabled, config.hot_keys, config.metrics_keys}, HttpConfig.to_native(config.http)}
  end

  @doc false
  def compression_to_native(compression) do
    {compression[:enabled], compression[:algorithm], compression[:threshold_bytes], compression[:level]}
  end

  @doc false
  def compression(given) do
    unless Keyword.keyword?(given), do: invalid(:compression, given, "a keyword list")

    for {key, _} <- given, key not in @compression_keys do
      invalid(:compression, given, "made of #{inspect(@compression_keys)}")
    end

    merged =
      Keyword.merge([enabled: true, algorithm: :zlib, threshold_bytes: 1024, level: 6], given)
      |> Keyword.take(@compression_keys)

    [enabled: enabled, algorithm: algorithm, threshold_bytes: threshold, level: level] =
      Enum.map(@compression_keys, &{&1, merged[&1]})

    unless is_boolean(enabled), do: invalid("compression: :enabled", enabled, "true or false")
    unless algorithm in [:zlib, :gzip], do: invalid("compression: :algorithm", algorithm, ":zlib or :gzip")

    unless is_integer(threshold) and threshold >= 0,
      do: invalid("compression: :threshold_bytes", threshold, "0 or more")

    unless level in 0..9, do: invalid("compression: :level", level, "0 to 9")
    [enabled: enabled, algorithm: algorithm, threshold_bytes: threshold, level: level]
  end

  defp setting(settings, key, variable, default) do
    case Keyword.fetch(settings, key) do
      {:ok, value} -> value
      :error -> environment(variable) || default
    end
  end

  @doc false
  # Whoever asks for tokens gets them, wherever he asks: what is served by mistake to everybody cannot be taken back.
  def auth_enabled?(settings \\ Application.get_all_env(:concord)) do
    switch(settings, :auth_enabled, "CONCORD_AUTH_ENABLED", false) or
      switch([], :auth_enabled, "CONCORD_AUTH_ENABLED", false)
  end

  defp switch(settings, key, variable, default) do
    case setting(settings, key, variable, default) do
      on when on in [true, "true", "1"] -> true
      off when off in [false, "false", "0"] -> false
      nil -> default
      other -> invalid("#{key} (#{variable})", other, "true or false")
    end
  end

  @doc false
  def environment(variable) do
    case System.get_env(variable, "") do
      "" -> nil
      text -> text
    end
  end

  defp data_dir(settings) do
    dir = Keyword.get(settings, :data_dir) || environment("CONCORD_DATA_DIR") || default_data_dir()
    unless is_binary(dir) and dir != "", do: invalid(:data_dir, dir, "a path")
    Path.expand(dir)
  end

  defp default_data_dir do
    case node() do
      :nonode@nohost -> "data/nonode"
      name -> "data/#{name}"
    end
  end

  defp durability(value) when value in [:always, :memory], do: value
  defp durability({:interval, ms}) when is_integer(ms) and ms > 0, do: {:interval, ms}
  defp durability(ms) when is_integer(ms) and ms > 0, do: {:interval, ms}
  defp durability("always"), do: :always
  defp durability("memory"), do: :memory

  defp durability(text) when is_binary(text) do
    case Integer.parse(text) do
      {ms, ""} when ms > 0 -> {:interval, ms}
      _ -> invalid("CONCORD_DURABILITY", text, "always, memory or a number of milliseconds")
    end
  end

  defp durability(other), do: invalid(:durability, other, ":always, :memory or {:interval, milliseconds}")

  # The application's `cluster:` is that of the store that it starts; other stores have one of their own or none.
  defp cluster(settings, overrides, name, durability) do
    shared? = name == Concord
    given = if shared?, do: settings[:cluster], else: overrides[:cluster]
    ClusterConfig.read(given, settings[:cluster_cookie], shared?: shared?, durable?: durability != :memory)
  end

  @doc false
  def consistency(settings) do
    case setting(settings, :default_read_consistency, "CONCORD_READ_CONSISTENCY", :leader) do
      level when level in [:eventual, :leader, :strong] -> level
      "eventual" -> :eventual
      "leader" -> :leader
      "strong" -> :strong
      other -> invalid(:default_read_consistency, other, ":eventual, :leader or :strong")
    end
  end

  defp name(name) when is_atom(name) and name not in [nil, true, false], do: name
  defp name(other), do: invalid(:name, other, "an atom")

  @doc false
  def positive(settings, key, default) do
    case Keyword.get(settings, key, default) do
      number when is_integer(number) and number > 0 -> number
      other -> invalid(key, other, "a whole number above 0")
    end
  end

  defp refuse_later(settings) do
    for key <- @later_and_vital, on?(settings[key]) do
      raise ArgumentError,
            "config :concord, #{key}: #{inspect(settings[key])} - this release has no such thing yet, " <>
              "and going on without it would not be safe; turn it off to start without"
    end
  end

  defp warn(settings) do
    for {key, value} <- settings, key in @later, on?(value) do
      Logger.warning("config :concord, #{key}: #{inspect(value)} has no effect in this release")
    end

    for {key, _} <- settings, key not in @known, key not in @later, key not in @later_and_vital do
      Logger.warning("config :concord, #{key}: there is no such setting")
    end
  end

  defp on?(value) when value in [nil, false, :none], do: false
  defp on?(value) when is_list(value), do: Keyword.keyword?(value) and Keyword.get(value, :enabled, true) != false
  defp on?(_value), do: true

  @doc false
  @spec invalid(atom() | String.t(), term(), String.t()) :: no_return()
  def invalid(key, value, wanted) do
    raise ArgumentError, "config :concord, #{key}: #{inspect(value)} should be #{wanted}"
  end
end
