# What an embedded store serves over HTTP: the API, tokens, metrics; and that it ends with the store.

defmodule Concord.HttpTest do
  # Promise: a store in an Elixir program serves what `concord serve` serves, when it is configured, and no port else.
  use Concord.StoreCase, async: false

  import Concord.Verbs

  alias Concord.{Config, HttpConfig, Json, Token}

  setup_all do
    for application <- [:inets, :ssl], do: {:ok, _} = Application.ensure_all_started(application)
    :ok
  end

  # Status and body; `json` is sent as such.
  defp ask(method, url, token \\ nil, json \\ nil) do
    headers = if token, do: [{'authorization', 'Bearer ' ++ String.to_charlist(token)}], else: []
    url = String.to_charlist(url)
    request = if json, do: {url, headers, 'application/json', json}, else: {url, headers}
    {:ok, {{_, status, _}, _, body}} = :httpc.request(method, request, [timeout: 10_000], body_format: :binary)
    {status, body}
  end

  defp api(store) do
    {:ok, %{api: api}} = Concord.serving(store: store)
    api
  end

  test "what is put over HTTP is read in Elixir, and the other way round" do
    store = fresh_store(durability: :memory, api_port: 0)
    url = api(store) <> "/api/v1/kv/greeting"
    assert {200, _} = ask(:put, url, nil, ~s|{"value": "Hello, World!", "ttl": 3600}|)
    assert {:ok, {"Hello, World!", 3600}} = Concord.get_with_ttl("greeting", store: store)
    assert :ok = Concord.put("greeting", %{text: "Hi", n: [1, nil]}, store: store)
    assert {200, body} = ask(:get, url)
    assert Json.read!(body)["data"] == %{"text" => "Hi", "n" => [1, nil]}
    assert {200, _} = ask(:delete, url)
    assert {:error, :not_found} = Concord.get("greeting", store: store)

    for path <- ["/api/v1/health", "/health", "/ready", "/console"],
        do: assert({200, _} = ask(:get, api(store) <> path))
  end

  test "with tokens it is the same guard, and the same revocation" do
    store = guarded_store(durability: :memory, api_port: 0)
    url = api(store) <> "/api/v1/kv/app:1"
    {:ok, made} = Token.create(scopes: [:read, :write], key_prefixes: ["app:"], store: store)
    assert {401, _} = ask(:get, url)
    assert {401, _} = ask(:put, url, "sk_concord_wrong", ~s|{"value": 1}|)
    assert {200, _} = ask(:put, url, made.token, ~s|{"value": 1}|)
    assert {403, _} = ask(:get, api(store) <> "/api/v1/kv/other", made.token)
    assert {:ok, 1} = Concord.get("app:1", store: store, token: made.token)
    assert {200, _} = ask(:get, api(store) <> "/health")

    assert :ok = Token.revoke(made, store: store)
    assert {401, _} = ask(:get, url, made.token)
  end

  test "metrics have a port of their own, and tell the same as in the program" do
    store = fresh_store(durability: :memory, prometheus_enabled: true, prometheus_port: 0)
    assert {:ok, %{api: nil, metrics: metrics}} = Concord.serving(store: store)
    :ok = Concord.put("a", 1, store: store)
    :ok = Concord.put("b", 2, store: store)
    assert {200, served} = ask(:get, metrics <> "/metrics")
    assert {404, _} = ask(:get, metrics <> "/api/v1/kv/a")
    assert {:ok, told} = Concord.metrics_text(store: store)

    for text <- [served, told] do
      assert text =~ ~s|concord_api_put_count_total{result="ok"} 2\n|
      assert text =~ "concord_cluster_size 2\n"
    end

    assert {:error, :noproc} = Concord.metrics_text(store: :nobody)
    assert {:error, :noproc} = Concord.serving(store: :nobody)
  end

  test "calls are not counted where that is turned off" do
    store = fresh_store(durability: :memory, telemetry_enabled: false)
    :ok = Concord.put("a", 1, store: store)
    {:ok, text} = Concord.metrics_text(store: store)
    refute text =~ "concord_api_put_count_total"
    assert text =~ "concord_cluster_size 1\n"
  end

  test "the ports are free when the store has stopped, also when its owner was killed" do
    {:ok, _} = start_supervised({Concord, name: :served, durability: :memory, api_port: 0}, id: :served)
    "http://127.0.0.1:" <> port = api(:served)
    settings = [name: :served, durability: :memory, api_port: String.to_integer(port)]
    :ok = stop_supervised(:served)
    assert {:error, _} = :gen_tcp.connect({127, 0, 0, 1}, settings[:api_port], [], 1_000)

    # Its supervisor starts it again at once, on the same port.
    start_supervised!({Concord, settings}, id: :served)
    assert "http://127.0.0.1:" <> ^port = api(:served)
    killed = Process.whereis(:served)
    Process.exit(killed, :kill)
    assert %{name: :served} = state_of_another(killed)
    assert {200, _} = ask(:get, "http://127.0.0.1:#{port}/health")
  end

  # The state of the process that took the place of this one; it is there when it has opened its store.
  defp state_of_another(pid, tries \\ 500) do
    case Process.whereis(:served) do
      other when other in [nil, pid] and tries > 0 ->
        Process.sleep(10)
        state_of_another(pid, tries - 1)

      other ->
        :sys.get_state(other, 10_000)
    end
  end

  test "a port that is taken keeps the store from starting, and says so" do
    Process.flag(:trap_exit, true)
    store = fresh_store(durability: :memory, api_port: 0)
    "http://127.0.0.1:" <> port = api(store)
    dir = fresh_dir()
    settings = [name: :second, durability: :always, data_dir: dir, api_port: String.to_integer(port)]
    assert {:error, {%Concord.Error{kind: :invalid_config, message: message}, _}} = Concord.start_link(settings)
    assert message =~ port

    # It has let its directory go.
    start_supervised!({Concord, Keyword.put(settings, :api_port, 0)}, id: :second)
    assert {200, _} = ask(:get, api(:second) <> "/ready")
  end

  test "nobody else is served without tokens, unless that is wanted" do
    Process.flag(:trap_exit, true)
    open = [name: :open, durability: :memory, api_port: 0, api_ip: {0, 0, 0, 0}]
    assert {:error, {%Concord.Error{kind: :invalid_config, message: message}, _}} = Concord.start_link(open)
    assert message =~ "auth_enabled"

    for more <- [[auth_enabled: true], [http: [allow_open: true]]] do
      start_supervised!({Concord, open ++ more}, id: :open)
      assert "http://0.0.0.0:" <> _ = api(:open)
      :ok = stop_supervised(:open)
    end
  end

  test "under TLS only TLS is answered" do
    tls = certificate(fresh_dir())
    store = fresh_store(durability: :memory, api_port: 0, http: [tls: tls])
    assert "https://127.0.0.1:" <> port = api(store)
    options = [ssl: [verify: :verify_none], timeout: 10_000]
    url = String.to_charlist(api(store) <> "/health")
    assert {:ok, {{_, 200, _}, _, _}} = :httpc.request(:get, {url, []}, options, [])

    assert {:error, _} =
             :httpc.request(:get, {'http://127.0.0.1:' ++ String.to_charlist(port), []}, [timeout: 5_000], [])
  end

  defp certificate(dir) do
    File.mkdir_p!(dir)
    %{cert: der, key: key} = :public_key.pkix_test_root_cert('concord', key: {:namedCurve, :secp256r1})
    files = [certificate: Path.join(dir, "cert.pem"), private_key: Path.join(dir, "key.pem")]
    File.write!(files[:certificate], :public_key.pem_encode([{:Certificate, der, :not_encrypted}]))
    File.write!(files[:private_key], :public_key.pem_encode([:public_key.pem_entry_encode(:ECPrivateKey, key)]))
    File.chmod!(files[:private_key], 0o600)
    files
  end

  describe "settings" do
    defp http(settings), do: Config.read(settings).http

    test "serve what is asked for, and nothing else" do
      assert http([]) == nil
      assert http(api_ip: "::1") == nil
      assert http(prometheus_enabled: false, prometheus_port: 9568) == nil
      assert http(name: :another) == nil
      assert %HttpConfig{listen: {"127.0.0.1", 4000}, metrics_listen: nil, tls: nil} = http(api_port: 4000)
      assert %{listen: {"::1", 8080}} = http(api_port: 8080, api_ip: {0, 0, 0, 0, 0, 0, 0, 1})
      assert %{listen: nil, metrics_listen: {"127.0.0.1", 9568}} = http(prometheus_enabled: true)
      assert %{metrics_listen: {"127.0.0.1", 9000}} = http(prometheus_enabled: true, prometheus_port: 9000)

      assert %{body_bytes_max: 2048, connections_max: 5} =
               http(api_port: 0, http: [body_bytes_max: 2048, connections_max: 5])

      for wrong <- [
            [api_port: 65_536],
            [api_port: "http"],
            [api_ip: "localhost"],
            [api_ip: 'localhost'],
            [prometheus_port: -1],
            [prometheus_enabled: :yes],
            [http: [tls: [certificate: "cert.pem"]]],
            [http: [allow_open: 1]],
            [http: [port: 1]]
          ] do
        assert_raise ArgumentError, fn -> http([api_port: 0] |> Keyword.merge(wrong)) end
      end
    end

    test "come from the environment for the store that the program shares, and configuration wins" do
      variables = %{
        "CONCORD_API_PORT" => "8080",
        "CONCORD_API_IP" => "10.0.0.1",
        "CONCORD_PROMETHEUS_PORT" => "9000",
        "CONCORD_AUTH_ENABLED" => "true",
        "CONCORD_LOCAL_SOCKET" => "false",
        "CONCORD_TELEMETRY_ENABLED" => "0",
        "CONCORD_API_TLS_CERTIFICATE" => "/cert.pem",
        "CONCORD_API_TLS_PRIVATE_KEY" => "/key.pem"
      }

      System.put_env(variables)
      on_exit(fn -> for {name, _} <- variables, do: System.delete_env(name) end)

      assert %{auth_enabled: true, local_socket: false, telemetry_enabled: false, hot_keys: true} = Config.read([])

      assert %{listen: {"10.0.0.1", 8080}, metrics_listen: {"10.0.0.1", 9000}, tls: {"/cert.pem", "/key.pem"}} =
               http([])

      assert %{listen: {"127.0.0.1", 1}, metrics_listen: nil} =
               http(api_port: 1, api_ip: "127.0.0.1", prometheus_enabled: false)

      assert %{listen: nil} = http(api_port: nil)
      assert http(name: :another) == nil
      assert %{local_socket: true, telemetry_enabled: true} = Config.read(local_socket: true, telemetry_enabled: true)
      # `CONCORD_AUTH_ENABLED=true mix start` guards a program whose development settings turn tokens off.
      assert Config.read(auth_enabled: false).auth_enabled

      System.put_env("CONCORD_AUTH_ENABLED", "perhaps")
      assert_raise ArgumentError, ~r/CONCORD_AUTH_ENABLED/, fn -> Config.read([]) end
    end
  end
end
