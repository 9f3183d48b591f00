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
    log =
      capture_log(fn -> read(api_port: 4000, prometheus_port: 9568, event_stream: [enabled: true], dat_dir: "typo") end)

    for name <- ~w(api_port prometheus_port event_stream dat_dir), do: assert(log =~ name)
  end

  test "what security rests on is refused" do
    assert_raise ArgumentError, ~r/auth_enabled/, fn -> read(auth_enabled: true) end
    assert_raise ArgumentError, ~r/audit_log/, fn -> read(audit_log: [enabled: true, log_dir: "./audit"]) end

    with_environment(%{"CONCORD_AUTH_ENABLED" => "true"}, fn ->
      assert_raise ArgumentError, ~r/tokens/, fn -> read([]) end
    end)

    Process.flag(:trap_exit, true)
    assert {:error, {%ArgumentError{message: message}, _}} = Concord.start_link(name: :refused, auth_enabled: true)
    assert message =~ "auth_enabled"
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
