defmodule Concord.HttpConfig do
  @moduledoc false
  # What a store serves over HTTP: from `api_port:`, `api_ip:`, `prometheus_enabled:`, `prometheus_port:`, `http:` and the
  # environment. `Concord.Config` documents it for users.

  alias Concord.Config

  defstruct [
    :listen,
    :metrics_listen,
    :tls,
    body_bytes_max: 8 * 1024 * 1024,
    connections_max: 1024,
    allow_open: false
  ]

  @type t :: %__MODULE__{}

  @api_port 4000
  @prometheus_port 9568

  @http_keys [:allow_open, :body_bytes_max, :connections_max, :tls]

  @doc """
  The ports that the documents name: of the API and of the metrics.
  """
  def usual_ports, do: {@api_port, @prometheus_port}

  @doc """
  What a store serves; nil when it serves nothing.

  `settings` are its own: two stores of one VM cannot have one port, so only the store that the whole VM shares takes those
  of the application and the environment.
  """
  def read(settings, shared?: shared?) do
    ip = ip(setting(settings, :api_ip, "CONCORD_API_IP", shared?, "127.0.0.1"))
    listen = address(ip, port(setting(settings, :api_port, "CONCORD_API_PORT", shared?, nil), :api_port))
    metrics_listen = address(ip, prometheus_port(settings, shared?))
    http = http(Keyword.get(settings, :http, []))

    if listen || metrics_listen do
      %__MODULE__{
        listen: listen,
        metrics_listen: metrics_listen,
        tls: tls(http[:tls], shared?),
        body_bytes_max: Config.positive(http, :body_bytes_max, 8 * 1024 * 1024),
        connections_max: Config.positive(http, :connections_max, 1024),
        allow_open: Keyword.get(http, :allow_open, false)
      }
    end
  end

  @doc """
  As `Concord.Native.open/1` takes it.
  """
  def to_native(nil), do: nil

  def to_native(%__MODULE__{} = http) do
    {http.listen, http.metrics_listen, http.tls, http.body_bytes_max, http.connections_max, http.allow_open}
  end

  defp prometheus_port(settings, shared?) do
    enabled = Keyword.get(settings, :prometheus_enabled)
    unless enabled in [true, false, nil], do: Config.invalid(:prometheus_enabled, enabled, "true or false")
    default = if enabled, do: @prometheus_port
    port = port(setting(settings, :prometheus_port, "CONCORD_PROMETHEUS_PORT", shared?, default), :prometheus_port)
    if enabled != false, do: port
  end

  defp setting(settings, key, variable, shared?, default) do
    case Keyword.fetch(settings, key) do
      {:ok, value} -> value
      :error -> (shared? && Config.environment(variable)) || default
    end
  end

  defp address(_ip, nil), do: nil
  defp address(ip, port), do: {ip, port}

  defp port(off, _key) when off in [nil, false], do: nil
  defp port(port, _key) when port in 0..65_535, do: port

  defp port(text, key) do
    with true <- is_binary(text),
         {port, ""} when port in 0..65_535 <- Integer.parse(text) do
      port
    else
      _ -> Config.invalid(key, text, "a port, 0 to 65535")
    end
  end

  defp ip(tuple) when is_tuple(tuple) do
    case :inet.ntoa(tuple) do
      {:error, _} -> Config.invalid(:api_ip, tuple, "an IP address")
      text -> List.to_string(text)
    end
  end

  defp ip(text) when is_binary(text) do
    case :inet.parse_strict_address(String.to_charlist(text)) do
      {:ok, _} -> text
      _ -> Config.invalid(:api_ip, text, "an IP address, such as \"127.0.0.1\"")
    end
  end

  defp ip(other), do: Config.invalid(:api_ip, other, "an IP address, such as \"127.0.0.1\"")

  defp http(given) do
    unless Keyword.keyword?(given) and Keyword.keys(given) -- @http_keys == [],
      do: Config.invalid(:http, given, "a keyword list with some of #{inspect(@http_keys)}")

    open = Keyword.get(given, :allow_open, false)
    unless is_boolean(open), do: Config.invalid("http: :allow_open", open, "true or false")
    given
  end

  defp tls(nil, shared?) do
    names = ["CONCORD_API_TLS_CERTIFICATE", "CONCORD_API_TLS_PRIVATE_KEY"]

    case if(shared?, do: Enum.map(names, &Config.environment/1), else: [nil, nil]) do
      [nil, nil] -> nil
      [certificate, key] when certificate != nil and key != nil -> {Path.expand(certificate), Path.expand(key)}
      _ -> raise ArgumentError, "#{Enum.join(names, " and ")} go together"
    end
  end

  defp tls(false, _shared?), do: nil

  defp tls(given, _shared?) do
    with true <- Keyword.keyword?(given) and Enum.sort(Keyword.keys(given)) == [:certificate, :private_key],
         true <- Enum.all?(Keyword.values(given), &is_binary/1) do
      {Path.expand(given[:certificate]), Path.expand(given[:private_key])}
    else
      _ -> Config.invalid("http: :tls", given, "[certificate: path, private_key: path]")
    end
  end
end
