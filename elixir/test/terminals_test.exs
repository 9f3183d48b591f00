# Three terminals, as the documents show them: `iex --name n1@127.0.0.1 --cookie concord -S mix`, n2, n3.

defmodule Concord.TerminalsTest do
  # Promise: VMs with names and the same Erlang cookie are one cluster, without any configuration, and the first of them is
  # of use before the others are there. Erlang's distribution carries nothing: here it does not even listen.
  use Concord.StoreCase, async: false

  alias Concord.Shop

  @moduletag timeout: 600_000

  # Reads expressions from the terminal and shows what they give.
  @terminal """
  Stream.repeatedly(fn -> IO.gets("") end)
  |> Stream.take_while(&is_binary/1)
  |> Enum.each(fn line ->
    {result, _} = Code.eval_string(line)
    IO.puts("=> " <> inspect(result, limit: :infinity))
  end)
  """

  test "three terminals are one store, one after the other and again after a restart" do
    app = Shop.new(fresh_dir())
    assert {_, 0} = Shop.mix(app, ["compile"])
    # Whoever else runs this on the same network has other secrets.
    cookie = "terminals#{System.pid()}_#{System.unique_integer([:positive])}"

    first = terminal(app, "n1", cookie)
    assert ask(first, "Concord.Cluster.await_ready(20_000)") == ":ok"
    assert ask(first, ~s|Concord.put("user:1", %{name: "Alice"})|) == ":ok"
    assert ask(first, ~s|Concord.get("user:1")|) == ~s|{:ok, %{name: "Alice"}}|

    [second, third] = for name <- ["n2", "n3"], do: terminal(app, name, cookie)

    for other <- [second, third] do
      assert ask(other, "Concord.Cluster.await_ready(30_000)") == ":ok"
      assert ask(other, ~s|Concord.get("user:1")|) == ~s|{:ok, %{name: "Alice"}}|
      assert ask(other, "Node.list(:connected)") == "[]"
    end

    names = ~s|{:ok, ["n1@127.0.0.1", "n2@127.0.0.1", "n3@127.0.0.1"]}|
    voters = "with {:ok, all} <- Concord.members(), do: {:ok, Enum.sort(for %{role: :voter, name: n} <- all, do: n)}"
    assert eventually(fn -> ask(third, voters) == names end)

    # Each has its own directory, and two of three go on.
    for name <- ["n1", "n2", "n3"], do: assert(File.dir?(Path.join(app, "data/#{name}@127.0.0.1")))
    leave(first)
    assert eventually(fn -> ask(second, ~s|Concord.put("user:2", "Bob")|) == ":ok" end)

    # The first one comes back as who it was.
    first = terminal(app, "n1", cookie)
    assert ask(first, "Concord.Cluster.await_ready(30_000)") == ":ok"
    assert ask(first, ~s|Concord.get("user:2")|) == ~s|{:ok, "Bob"}|
    assert ask(first, voters) == names
    Enum.each([first, second, third], &leave/1)
  end

  # Each could found a cluster alone; whoever founds, the others must notice in time.
  test "three terminals that start at the same instant are one store" do
    app = Shop.new(fresh_dir())
    assert {_, 0} = Shop.mix(app, ["compile"])
    cookie = "instant#{System.pid()}_#{System.unique_integer([:positive])}"
    terminals = for name <- ["n1", "n2", "n3"], do: terminal(app, name, cookie)
    for each <- terminals, do: assert(ask(each, "Concord.Cluster.await_ready(30_000)") == ":ok")
    cluster = "with {:ok, status} <- Concord.status(), do: {status.cluster.cluster_id, length(status.cluster.members)}"
    answers = for each <- terminals, do: ask(each, cluster)
    assert [_] = Enum.uniq(answers)
    Enum.each(terminals, &leave/1)
  end

  defp terminal(app, name, cookie) do
    name = "#{name}@127.0.0.1"

    arguments = [
      "--erl",
      "-dist_listen false -start_epmd false",
      "--name",
      name,
      "--cookie",
      cookie,
      "-S",
      "mix",
      "run",
      "-e",
      @terminal
    ]

    environment = for {key, value} <- Shop.environment(), do: {String.to_charlist(key), String.to_charlist(value)}
    options = [:binary, :exit_status, :stderr_to_stdout, line: 65_536, cd: app, args: arguments, env: environment]
    port = Port.open({:spawn_executable, System.find_executable("elixir")}, options)
    %{port: port, name: name}
  end

  defp ask(%{port: port} = terminal, expression) do
    Port.command(port, expression <> "\n")
    answer(terminal)
  end

  defp answer(%{port: port} = terminal) do
    receive do
      {^port, {:data, {:eol, "=> " <> answer}}} -> answer
      # What it logs.
      {^port, {:data, _}} -> answer(terminal)
      {^port, {:exit_status, status}} -> flunk("#{terminal.name} has ended with #{status}")
    after
      60_000 -> flunk("#{terminal.name} does not answer")
    end
  end

  # Ends as a terminal ends: what it read from is gone. Returns when the VM is.
  defp leave(%{port: port}) do
    Port.command(port, "spawn(&System.stop/0)\n")
    assert_receive {^port, {:exit_status, 0}}, 60_000
  end
end
