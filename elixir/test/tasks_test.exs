# The Mix tasks as the documents show them: `mix start` runs a node, `mix concord.cluster` acts on it from another VM.

defmodule Concord.TasksTest do
  # Before, the tasks started a node of their own beside the one that ran, and told of that. Here they speak to the one that
  # runs, and say what to do when there is none.
  use Concord.StoreCase, async: false

  alias Concord.Shop

  @moduletag timeout: 600_000

  setup_all do
    {:ok, _} = Application.ensure_all_started(:inets)
    dir = Path.join(System.tmp_dir!(), "concord-tasks-#{System.pid()}")
    on_exit(fn -> File.rm_rf!(dir) end)
    app = Shop.new(dir)
    assert {_, 0} = Shop.mix(app, ["compile"])
    {:ok, app: app}
  end

  setup %{app: app} do
    on_exit(fn -> File.rm_rf!(Path.join(app, "data")) end)
  end

  @served [{"CONCORD_API_PORT", "0"}, {"CONCORD_PROMETHEUS_PORT", "0"}]

  # Runs `mix start` until it serves; answers its port, process id and what it said.
  defp start(app, more) do
    environment = for {key, value} <- Shop.environment() ++ @served ++ more, do: {to_charlist(key), to_charlist(value)}
    options = [:binary, :exit_status, :stderr_to_stdout, line: 65_536, cd: app, args: ["start"], env: environment]
    port = Port.open({:spawn_executable, System.find_executable("mix")}, options)
    {:os_pid, pid} = Port.info(port, :os_pid)
    node = %{port: port, pid: pid, said: said(port, ~r/token/, [])}
    on_exit(fn -> System.cmd("kill", ["-9", "#{pid}"], stderr_to_stdout: true) end)
    node
  end

  # Its lines until one of them matches.
  defp said(port, last, lines) do
    receive do
      {^port, {:data, {:eol, line}}} ->
        if line =~ last, do: Enum.reverse([line | lines]), else: said(port, last, [line | lines])

      {^port, {:exit_status, status}} ->
        flunk("mix start has ended with #{status}: #{Enum.join(Enum.reverse(lines), "\n")}")
    after
      60_000 -> flunk("mix start says nothing: #{inspect(lines)}")
    end
  end

  defp stop(%{port: port, pid: pid}) do
    {_, 0} = System.cmd("kill", ["#{pid}"])
    assert_receive {^port, {:exit_status, _}}, 60_000
  end

  defp url(node, what),
    do: Enum.find_value(node.said, &with([_, url] <- Regex.run(~r/serving #{what} on (\S+)/, &1), do: url))

  defp ask(url, token) do
    headers = if token, do: [{'x-api-key', to_charlist(token)}], else: []

    {:ok, {{_, status, _}, _, body}} =
      :httpc.request(:get, {to_charlist(url), headers}, [timeout: 10_000], body_format: :binary)

    {status, body}
  end

  defp cluster(app, words, more \\ []), do: Shop.mix(app, ["concord.cluster" | words], more)

  test "a node is started, shown and given tokens, from VMs of their own", %{app: app} do
    node = start(app, [{"CONCORD_AUTH_ENABLED", "true"}])
    assert Enum.any?(node.said, &(&1 =~ "every request needs a token"))
    key = url(node, "the API") <> "/kv/user:1"
    assert {200, "# HELP" <> _} = ask(url(node, "metrics"), nil)
    assert {401, _} = ask(key, nil)

    assert {status, 0} = cluster(app, ["status"])

    assert status =~
             ~r/\ACluster Status:\nNode: \S+\n\nCluster Overview:\n%{\n  commit_index: \d+,\n  current_term: 1,\n/

    assert status =~ ~r/  state: :leader\n}\n\nStorage Stats:\n  Size: 0 entries\n  Memory: 0 bytes\n\z/
    assert {members, 0} = cluster(app, ["members"])
    assert members =~ ~r/\ACluster Members:\n  \S+: voter, node \d+, leader/

    assert {"There are no tokens.\n", 0} = cluster(app, ["token", "list"])
    assert {created, 0} = cluster(app, ["token", "create"])
    assert [_, token] = Regex.run(~r/\A✓ Created token: (sk_concord_[0-9a-f]{72})\n/u, created)
    assert {404, _} = ask(key, token)

    more = ~w(token create --quiet --name web --scope read --prefix user: --prefix order: --ttl 60)
    assert {"sk_concord_" <> _ = web, 0} = cluster(app, more)
    assert {404, _} = ask(key, String.trim(web))
    assert {403, _} = ask(url(node, "the API") <> "/kv/other", String.trim(web))

    assert {list, 0} = cluster(app, ["token", "list"])
    assert list =~ ~r/"web": read, keys "user:"\* "order:"\*, made .* expires 2/
    refute list =~ "sk_concord"

    assert {"✓ Revoked token\n", 0} = cluster(app, ["token", "revoke", token])
    assert {401, _} = ask(key, token)
    assert {output, 1} = cluster(app, ["token", "revoke", token])
    assert output =~ "not_found"
    refute output =~ token
    [_, id] = Regex.run(~r/([0-9a-f]{16}) "web"/, list)
    assert {"✓ Revoked token\n", 0} = cluster(app, ["token", "revoke", id])

    stop(node)
    assert {output, 1} = cluster(app, ["status"])
    assert output =~ "no node runs here"
    assert output =~ "mix start"
  end

  test "the running node is found by its directory, and never started", %{app: app} do
    dir = fresh_dir()
    assert {output, 1} = cluster(app, ["--data-dir", dir, "status"])
    assert output =~ "no node runs in #{dir}"
    assert output =~ "--data-dir"
    refute File.exists?(dir)

    store = fresh_store(durability: :always, data_dir: dir)
    :ok = Concord.put("a", 1, store: store)
    assert {output, 0} = cluster(app, ["status", "--data-dir", dir])
    assert output =~ "Size: 1 entries"
    assert {output, 0} = cluster(app, ["status"], [{"CONCORD_DATA_DIR", dir}])
    assert output =~ "Size: 1 entries"

    # Of several in `data/` one must be named.
    for name <- ["one", "two"], do: fresh_store(durability: :always, data_dir: Path.join(app, "data/#{name}"))
    assert {output, 1} = cluster(app, ["status"])
    assert output =~ "data/one"
    assert output =~ "data/two"
  end

  test "what is called wrongly ends with status 1 and says how it is called", %{app: app} do
    for words <- [
          [],
          ["stat"],
          ["token"],
          ["token", "revoke"],
          ["token", "create", "--scope", "all"],
          ["token", "create", "--ttl", "soon"],
          ["status", "--name", "n"],
          ["status", "--verbose"]
        ] do
      assert {output, 1} = cluster(app, words)
      assert output =~ "(Mix)"
      refute output =~ "no node"
    end

    assert {_, 1} = Shop.mix(app, ["start", "8080"])
    refute File.exists?(Path.join(app, "data"))
    assert {help, 0} = Shop.mix(app, ["help", "concord.cluster"])
    for text <- ["--data-dir", "token create", "token revoke"], do: assert(help =~ text)
    assert {help, 0} = Shop.mix(app, ["help", "start"])
    assert help =~ "CONCORD_API_PORT=8080 CONCORD_AUTH_ENABLED=true mix start"
  end

  test "a port that is taken ends mix start with its name", %{app: app} do
    {:ok, socket} = :gen_tcp.listen(0, ip: {127, 0, 0, 1})
    {:ok, port} = :inet.port(socket)
    assert {output, 1} = Shop.mix(app, ["start"], [{"CONCORD_API_PORT", "#{port}"}, {"CONCORD_PROMETHEUS_PORT", "0"}])
    assert output =~ "127.0.0.1:#{port}"
  end
end
