# Settings: what works, what is refused, what is only warned about.

defmodule Concord.ConfigTest do
  # Settings: what is accepted, what is refused, and what is said at the start.
  use Concord.StoreCase, async: false

  import ExUnit.CaptureLog

  alias Concord.Config

  defp read(settings), do: Config.read(settings)

  defp with_environment(variables, function) do
    System.put_env(variables)
    function.()
  after
    for {name, _} <- variables, do: System.delete_env(name)
  end

  test "what the documents configure works" do
    log =
      capture_log(fn ->
        config =
          read(
            durability: :always,
            data_dir: "./data/dev",
            auth_enabled: false,
            prometheus_enabled: false,
            tracing_enabled: false,
            audit_log: [enabled: false],
            event_stream: [enabled: false]
          )

        assert config.data_dir == Path.expand("./data/dev")
        assert read(default_read_consistency: :strong).default_read_consistency == :strong

        assert read(compression: [algorithm: :gzip]).compression == [
                 enabled: true,
                 algorithm: :gzip,
                 threshold_bytes: 1024,
                 level: 6
               ]

        assert read(compression: [enabled: false]).compression[:enabled] == false
        assert read(durability: {:interval, 100}).durability == {:interval, 100}
      end)

    assert log == ""
  end

  test "what would silently not happen is said" do
    log = capture_log(fn -> read(cluster_name: :shop, event_stream: [enabled: true], dat_dir: "typo") end)

    for name <- ~w(cluster_name event_stream dat_dir), do: assert(log =~ name)
  end

  test "what security rests on is refused" do
    assert_raise ArgumentError, ~r/audit_log/, fn -> read(audit_log: [enabled: true, log_dir: "./audit"]) end

    Process.flag(:trap_exit, true)
    settings = [name: :refused, durability: :memory, audit_log: [enabled: true]]
    assert {:error, {%ArgumentError{message: message}, _}} = Concord.start_link(settings)
    assert message =~ "audit_log"
  end

  describe "a store in a cluster" do
    test "has the settings that are given, the environment's, and the usual ones, in this order" do
      variables = %{
        "CONCORD_LISTEN" => "10.0.0.9:7000",
        "CONCORD_SEEDS" => "10.0.0.1:7400, 10.0.0.2:7400",
        "CONCORD_BOOTSTRAP_EXPECT" => "3",
        "CONCORD_MULTICAST" => "true",
        "CONCORD_COOKIE" => "from the environment",
        "CONCORD_NODE_NAME" => "nine"
      }

      with_environment(variables, fn ->
        config = read(cluster: [listen: "10.0.0.1:7400", multicast: [port: 5000]], cluster_cookie: fn -> "given" end)

        assert %{listen: "10.0.0.1:7400", name: "nine", bootstrap_expect: 3, cookie: "given"} = config.cluster
        assert %{seeds: ["10.0.0.1:7400", "10.0.0.2:7400"], multicast: {"239.255.67.79", 5000}} = config.cluster
        refute inspect(config) =~ "given"

        # The environment alone makes a cluster of the store that the application starts, and only of that one.
        assert %{listen: "10.0.0.9:7000", cookie: "from the environment"} = read([]).cluster
        assert read(name: :another).cluster == nil
        assert read(cluster: false).cluster == nil
        assert %{listen: "x:1"} = read(name: :another, cluster: [listen: "x:1"]).cluster
      end)

      assert read([]).cluster == nil
      assert %{listen: "127.0.0.1:7400", bootstrap_expect: 0, multicast: nil, tls: nil} = read(cluster: []).cluster
    end

    test "refuses what cannot be, never naming the secret" do
      for wrong <- [
            true,
            [listen: 7400],
            [seeds: [:n1]],
            [seeds: 5],
            [bootstrap_expect: 10],
            [multicast: [group: "nowhere"]],
            [tls: [certificate: "cert.pem"]],
            [tls: [private: "key.pem"]],
            [election_timeout_ms: 0],
            [promote: :later],
            [cookie: "hidden secret"]
          ] do
        error = assert_raise ArgumentError, ~r/cluster/, fn -> read(cluster: wrong) end
        refute error.message =~ "hidden"
      end

      assert_raise ArgumentError, ~r/cluster_cookie/, fn -> read(cluster: [], cluster_cookie: 5) end

      Process.flag(:trap_exit, true)
      settings = [name: :open_to_all, durability: :memory, cluster: [listen: "127.0.0.1:0", bootstrap_expect: 1]]
      assert {:error, {%Concord.Error{kind: :invalid_config, message: message}, _}} = Concord.start_link(settings)
      assert message =~ "cluster_cookie"
    end

    test "is said to be missing when there is only a secret" do
      log = capture_log(fn -> assert read(cluster_cookie: "hidden").cluster == nil end)
      assert log =~ "cluster_cookie"
      refute log =~ "hidden"
      assert capture_log(fn -> read(cluster_cookie: "hidden", cluster: false) end) == ""
    end

    test "forms around a VM with a name in development, as in three terminals, and nowhere else" do
      start_node(:"n1@127.0.0.1")
      # A release has a name by itself: nobody has asked for a cluster.
      assert Mix.env() == :test
      assert read(durability: :always).cluster == nil
      Mix.env(:dev)
      on_exit(fn -> Mix.env(:test) end)
      with_environment(%{"RELEASE_NAME" => "shop"}, fn -> assert read(durability: :always).cluster == nil end)

      assert %{cluster: cluster, data_dir: dir} = read(durability: :always)
      assert %{listen: "127.0.0.1:0", name: "n1@127.0.0.1", cookie: "concord", bootstrap_expect: :auto} = cluster
      assert cluster.multicast == {"239.255.67.79", 45_892}
      assert dir == Path.expand("data/n1@127.0.0.1")

      assert read(durability: :always, cluster_cookie: "another").cluster.cookie == "another"
      assert %{bootstrap_expect: 0, name: "n1@127.0.0.1", cookie: ""} = read(cluster: []).cluster
      assert read(durability: :always, cluster: false).cluster == nil
      assert read(durability: :memory).cluster == nil
      assert read(durability: :always, name: :another).cluster == nil
    end

    test "has the name of its Erlang node unless that is too long" do
      # Before, a pod of Kubernetes with its whole domain in its name could not start.
      start_node(:"shop@#{String.duplicate("a", 60)}.local")
      assert read(cluster: [listen: "127.0.0.1:0"]).cluster.name == nil
      assert read(cluster: [listen: "127.0.0.1:0", name: "short"]).cluster.name == "short"
    end

    # Without a socket of Erlang's own, so that nothing else is needed to run this.
    defp start_node(name) do
      {:ok, _} = :net_kernel.start(name, %{name_domain: :longnames, dist_listen: false})
      on_exit(fn -> :net_kernel.stop() end)
      Node.set_cookie(:concord)
    end
  end

  test "settings out of range are refused by name" do
    for {key, value} <- [
          durability: :sometimes,
          default_read_consistency: :weak,
          compression: [level: 10],
          compression: [levle: 1],
          compression: :zlib,
          data_dir: 5,
          value_bytes_max: 0
        ] do
      assert_raise ArgumentError, ~r/#{key}/, fn ->
        read([{:durability, :always}, {key, value}] |> Enum.reverse() |> Enum.uniq_by(&elem(&1, 0)))
      end
    end

    Process.flag(:trap_exit, true)

    assert {:error, {%Concord.Error{kind: :invalid_config}, _}} =
             Concord.start_link(name: :small, durability: :memory, value_bytes_max: 5)
  end

  test "the environment is the default, configuration wins" do
    variables = %{"CONCORD_DATA_DIR" => "/from/environment", "CONCORD_READ_CONSISTENCY" => "eventual"}

    with_environment(variables, fn ->
      assert %{data_dir: "/from/environment", default_read_consistency: :eventual} = read(durability: :always)

      assert %{data_dir: "/explicit", default_read_consistency: :leader} =
               read(durability: :always, data_dir: "/explicit", default_read_consistency: :leader)
    end)

    assert read(durability: :always).data_dir == Path.expand("data/nonode")
  end

  test "gzip, thresholds and levels are those of the store" do
    store = fresh_store(durability: :memory, compression: [algorithm: :gzip, level: 9, threshold_bytes: 0])
    value = String.duplicate("abc", 1000)
    :ok = Concord.put("a", value, store: store)
    assert {:ok, ^value} = Concord.get("a", store: store)
    {:ok, status} = Concord.status(store: store)
    assert status.storage.memory < 2000
  end

  test "a second holder of a directory learns who has it" do
    dir = fresh_dir()
    fresh_store(durability: :always, data_dir: dir)
    Process.flag(:trap_exit, true)

    assert {:error, {%Concord.Error{kind: :locked, message: message}, _}} =
             Concord.start_link(name: :second, durability: :always, data_dir: dir)

    assert message =~ dir
  end

  test "compression of values kept elsewhere" do
    for algorithm <- [:zlib, :gzip], value <- ["text", %{a: [1, nil]}, String.duplicate("x", 100_000)] do
      compressed = Concord.Compression.compress(value, algorithm: algorithm)
      assert {:compressed, ^algorithm, _} = compressed
      assert Concord.Compression.decompress(compressed) == value
    end

    assert_raise ArgumentError, fn -> Concord.Compression.decompress({:compressed, :zlib, "no"}) end
    assert_raise ArgumentError, fn -> Concord.Compression.compress(self()) end
    bomb = :zlib.compress(:binary.copy(<<0>>, 100_000_000))
    assert_raise ArgumentError, ~r/more than/, fn -> Concord.Compression.decompress({:compressed, :zlib, bomb}) end
  end
end
