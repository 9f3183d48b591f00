# Stories of several nodes: how they meet, what they promise each other, and what a client sees.

defmodule Concord.ClusterTest do
  # Three stores in one VM, each with its directory and its port, are one store. No call may wait where the VM cannot
  # afford it, and none that gave up may leave a message behind.
  use Concord.StoreCase, async: false

  alias Concord.{Client, Cluster}

  @moduletag capture_log: true
  @cookie "the secret of these tests"

  doctest Concord.Cluster

  # One member, named and reached on a port of its own.
  defp member(name, settings) do
    cluster = Keyword.merge([listen: "127.0.0.1:0", name: name], settings)
    fresh_store(durability: :always, data_dir: fresh_dir(), cluster: cluster, cluster_cookie: @cookie)
  end

  # The first member founds the cluster, the others join it.
  defp three_members do
    first = member("n1", bootstrap_expect: 1)
    assert :ok = Cluster.await_ready(10_000, store: first)
    seeds = [address(first, "n1")]
    others = for name <- ["n2", "n3"], do: member(name, seeds: seeds)
    stores = [first | others]
    for store <- stores, do: assert(:ok = Cluster.await_ready(20_000, store: store))
    assert eventually(fn -> voters(first) == ["n1", "n2", "n3"] end)
    stores
  end

  defp members(store) do
    {:ok, members} = Concord.members(store: store)
    members
  end

  defp address(store, name), do: Enum.find(members(store), &(&1.name == name)).address

  defp voters(store), do: for(%{role: :voter, name: name} <- members(store), do: name) |> Enum.sort()

  defp leader(stores) do
    eventually(fn ->
      Enum.find(stores, &match?({:ok, %{cluster: %{state: :leader, ready: true}}}, Concord.status(store: &1)))
    end)
  end

  defp name_of(store) do
    {:ok, %{cluster: cluster}} = Concord.status(store: store)
    Enum.find(cluster.members, &(&1.node_id == cluster.node_id)).name
  end

  test "reads that wait answer as those that do not" do
    store = fresh_store()
    handle = Concord.Store.handle(store)
    wait = &Concord.Read.wait(handle, &1, &2, :strong, 1_000)
    large = :crypto.strong_rand_bytes(300_000)
    :ok = Concord.put("small", %{at: ~D[2025-10-21], tags: [:a, nil]}, store: store, ttl: 60)
    :ok = Concord.put("large", large, store: store)
    :ok = Concord.put("text", String.duplicate("compressed ", 10_000), store: store)

    for key <- ["small", "large", "text", "missing", "", :atom], shape <- [:value, :ttl, :value_ttl, :record] do
      assert wait.(key, shape) == Concord.Native.read(handle, key, shape, :strong, 1_000), inspect({key, shape})
    end

    assert mailbox() == []
  end

  test "a read that is given up leaves no message behind" do
    # Before, only writes could be late.
    store = fresh_store()
    :ok = Concord.put("a", 1, store: store)

    for _ <- 1..200 do
      answer = Concord.Read.wait(Concord.Store.handle(store), "a", :value, :leader, 0)
      assert answer in [{:ok, 1}, {:error, :timeout}]
    end

    # Anything that is late would arrive before the answer to this.
    assert {:ok, 1} = Concord.Read.wait(Concord.Store.handle(store), "a", :value, :leader, 1_000)
    assert mailbox() == []
  end

  test "misuse raises, what is not there is an error" do
    assert_raise ArgumentError, fn -> Cluster.remove("n1", tmeout: 5) end
    assert_raise ArgumentError, fn -> Cluster.await_ready(-1) end
    assert_raise FunctionClauseError, fn -> Cluster.add(7400) end
    assert_raise FunctionClauseError, fn -> Cluster.promote(nil) end
    assert {:error, :noproc} = Cluster.leave(store: :nobody)
    assert {:error, :noproc} = Cluster.await_ready(0, store: :nobody)
    assert {:error, :not_found} = Cluster.transfer_leadership(:nobody@nowhere)
    assert {:error, :not_found} = Cluster.replace("nobody", "nobody either")
  end

  test "a client that nobody answers says so, with neither secret nor crash" do
    Process.flag(:trap_exit, true)
    # Nobody listens where a socket was just closed.
    {:ok, socket} = :gen_tcp.listen(0, ip: {127, 0, 0, 1})
    {:ok, port} = :inet.port(socket)
    :gen_tcp.close(socket)
    options = [addresses: "127.0.0.1:#{port}", cookie: fn -> @cookie end, connect_timeout_ms: 200]
    assert {:error, {%Concord.Error{kind: kind} = error, _}} = Client.start_link(options)
    assert kind in [:timeout, :cluster_not_ready]
    refute Exception.message(error) =~ @cookie

    assert {:error, {%Concord.Error{kind: :invalid_config}, _}} = Client.start_link(cookie: @cookie)
    assert {:error, {%ArgumentError{}, _}} = Client.start_link(addresses: "127.0.0.1:1", cokie: @cookie)
  end

  test "a cluster of one is a store like any other, and stays the same member" do
    dir = fresh_dir()
    cluster = [listen: "127.0.0.1:0", name: "alone", bootstrap_expect: 1]
    settings = [name: :one, durability: :always, data_dir: dir, cluster: cluster, cluster_cookie: @cookie]
    start_supervised!({Concord, settings}, id: :one)
    assert :ok = Cluster.await_ready(10_000, store: :one)
    assert [%{name: "alone", role: :voter, leader: true, lag: 0, node_id: node_id} = member] = members(:one)
    assert "127.0.0.1:" <> port = member.address
    assert port != "0"
    :ok = Concord.put("a", 1, store: :one)
    for level <- [:eventual, :leader, :strong], do: assert({:ok, 1} = Concord.get("a", store: :one, consistency: level))
    assert {:error, :invalid_config} = Cluster.remove("alone", store: :one)
    assert {:error, :invalid_config} = Cluster.leave(store: :one)
    assert :ok = Cluster.transfer_leadership("alone", store: :one)

    :ok = stop_supervised(:one)
    start_supervised!({Concord, settings}, id: :one)
    assert :ok = Cluster.await_ready(10_000, store: :one)
    assert [%{node_id: ^node_id, name: "alone"}] = members(:one)
    assert {:ok, 1} = Concord.get("a", store: :one)
  end

  test "nodes that expect each other found one cluster together" do
    ports = free_ports(3)
    seeds = for port <- ports, do: "127.0.0.1:#{port}"

    stores =
      for {seed, index} <- Enum.with_index(seeds, 1) do
        member("m#{index}", listen: seed, seeds: seeds, bootstrap_expect: 3)
      end

    for store <- stores, do: assert(:ok = Cluster.await_ready(20_000, store: store))
    ids = for store <- stores, {:ok, status} = Concord.status(store: store), do: status.cluster.cluster_id
    assert [_] = Enum.uniq(ids)
    assert eventually(fn -> voters(hd(stores)) == ["m1", "m2", "m3"] end)
  end

  defp free_ports(count) do
    sockets = for _ <- 1..count, do: elem(:gen_tcp.listen(0, ip: {127, 0, 0, 1}), 1)
    ports = for socket <- sockets, do: elem(:inet.port(socket), 1)
    Enum.each(sockets, &:gen_tcp.close/1)
    ports
  end

  test "what one node writes all nodes read, and every verb works on every node" do
    stores = three_members()
    value = %{at: ~U[2025-10-21 12:47:27.231034Z], large: String.duplicate("x", 200_000)}

    for {store, i} <- Enum.with_index(stores), key = "key:#{i}" do
      assert :ok = Concord.put(key, value, store: store, ttl: 600)

      for reader <- stores, level <- [:leader, :strong] do
        options = [store: reader, consistency: level]
        assert {:ok, ^value} = Concord.get(key, options)
        assert {:ok, 600} = Concord.ttl(key, options)
        assert {:ok, {^value, 600}} = Concord.get_with_ttl(key, options)
        assert {:ok, %{^key => {:ok, ^value}}} = Concord.get_many([key], options)
        assert {:ok, %{^key => ^value}} = Concord.get_all(options)
        assert {:error, :not_found} = Concord.get("missing", options)
        assert {:error, :invalid_key} = Concord.get("", options)
      end

      assert eventually(fn -> Concord.get(key, store: store, consistency: :eventual) == {:ok, value} end)
    end

    for store <- stores do
      assert {:ok, _} = Concord.increment("hits", 1, store: store)
      {:ok, hits} = Concord.get("hits", store: store)
      assert :ok = Concord.put_if("hits", hits + 10, condition: &(&1 == hits), store: store)
      assert {:error, :condition_failed} = Concord.put_if("hits", 0, expected: hits, store: store)
      assert {:ok, _} = Concord.put_many([{"a", 1}, {"b", 2}], store: store)

      assert {:ok, %{"a" => :ok, "none" => {:error, :not_found}}} =
               Concord.touch_many([{"a", 9}, {"none", 9}], store: store)
    end

    assert {:ok, 33} = Concord.get("hits", store: hd(stores))
    assert mailbox() == []
  end

  test "members know who is who, and leadership goes where it is sent" do
    stores = three_members()
    first = leader(stores)
    {:ok, status} = Concord.status(store: first)
    assert %{state: :leader, ready: true, snapshot_state: :idle, leader: id, node_id: id} = status.cluster

    assert eventually(fn ->
             Enum.all?(members(first), &(&1.lag == 0 and is_integer(&1.matched_index))) and
               Enum.all?(members(first), &(&1.leader or is_integer(&1.last_contact_ms)))
           end)

    next = Enum.find(stores, &(&1 != first))
    assert :ok = Cluster.transfer_leadership(name_of(next), store: first)
    assert eventually(fn -> match?({:ok, %{cluster: %{state: :leader}}}, Concord.status(store: next)) end)

    assert :ok = Cluster.leave(store: first)
    assert eventually(fn -> length(voters(next)) == 2 end)
    assert :ok = Concord.put("after", 1, store: next)
  end

  test "without a majority calls fail in time, hold no scheduler, and leave nothing behind" do
    stores = three_members()
    last = List.last(stores)
    :ok = Concord.put("a", 1, store: last)
    assert {:ok, 1} = Concord.get("a", store: last, consistency: :strong)
    for store <- stores -- [last], do: stop_supervised!(store)
    assert eventually(fn -> not Cluster.ready?(store: last) end)

    tasks =
      for i <- 1..1_000 do
        Task.async(fn ->
          options = [store: last, timeout: 500]
          answers = [Concord.get("a", options), Concord.get("a", [consistency: :strong] ++ options)]
          {i, answers, Concord.put("b", i, options), mailbox()}
        end)
      end

    # Meanwhile the VM is as quick as ever.
    for _ <- 1..100 do
      {micros, answer} = :timer.tc(fn -> Concord.get("a", store: last, consistency: :eventual) end)
      assert answer == {:ok, 1}
      assert micros < 200_000
    end

    for {_, reads, write, left} <- Task.await_many(tasks, 20_000) do
      for answer <- reads, do: assert(answer in [{:error, :timeout}, {:error, :cluster_not_ready}])
      assert write in [{:error, :timeout}, {:error, :cluster_not_ready}, {:error, :unknown_outcome}]
      assert left == []
    end

    assert {:error, _} = Concord.get_many(["a"], store: last, timeout: 300)
    assert {:error, _} = Concord.get_all(store: last, timeout: 300)
    assert {:error, :timeout} = Cluster.await_ready(1_500, store: last)
    assert {:ok, %{cluster: %{ready: false}}} = Concord.status(store: last)
  end

  test "without a majority no scheduler and no thread for files is held, and who waits can be killed" do
    # Before, reads of many keys waited on the ten threads that the VM has for blocking calls: the eleventh caller waited
    # for the others, and so did everybody who opened a file.
    stores = three_members()
    last = List.last(stores)
    :ok = Concord.put("a", 1, store: last)
    for store <- stores -- [last], do: stop_supervised!(store)
    assert eventually(fn -> not Cluster.ready?(store: last) end)

    watcher = self()
    collector = spawn_link(fn -> collect([], watcher) end)
    :erlang.system_monitor(collector, [{:long_schedule, 100}])
    on_exit(fn -> :erlang.system_monitor(:undefined) end)

    options = [store: last, consistency: :strong, timeout: 2_000]

    verbs = [
      fn -> Concord.get("a", options) end,
      fn -> Concord.put("b", 1, store: last, timeout: 2_000) end,
      fn -> Concord.get_many(["a"], options) end,
      fn -> Concord.get_all(options) end
    ]

    waiting = for _ <- 1..250, verb <- verbs, do: Task.async(fn -> {:timer.tc(verb), mailbox()} end)

    # Meanwhile files open, reads that may be stale go on, and who waits ends when it is told to.
    {micros, {:ok, _}} = :timer.tc(fn -> File.read(__ENV__.file) end)
    assert micros < 1_000_000
    for _ <- 1..1_000, do: assert({:ok, 1} = Concord.get("a", store: last, consistency: :eventual))

    for verb <- verbs do
      {pid, monitor} = spawn_monitor(fn -> Concord.get("a", store: last, consistency: :eventual) && verb.() end)
      Process.exit(pid, :kill)
      assert_receive {:DOWN, ^monitor, :process, ^pid, :killed}, 1_000
    end

    for {{micros, answer}, left} <- Task.await_many(waiting, 30_000) do
      assert {:error, kind} = answer
      assert kind in [:timeout, :cluster_not_ready, :unknown_outcome]
      assert left == []
      assert micros < 4_000_000
    end

    send(collector, :report)
    assert_receive {:long_schedules, []}
  end

  defp collect(found, watcher) do
    receive do
      {:monitor, _, :long_schedule, _} = long -> collect([long | found], watcher)
      :report -> send(watcher, {:long_schedules, found})
    end
  end

  test "a client uses the same verbs and outlives the leader" do
    [first | _] = stores = three_members()
    addresses = for member <- members(first), do: member.address

    start_supervised!({Client, name: :client, addresses: addresses, cookie: fn -> @cookie end})
    assert :ok = Concord.put("a", %{n: 1}, store: :client)
    assert {:ok, %{n: 1}} = Concord.get("a", store: :client)
    assert {:ok, %{"a" => {:ok, %{n: 1}}}} = Concord.get_many(["a"], store: :client)
    assert {:ok, %{"a" => %{n: 1}}} = Concord.get_all(store: :client)
    assert {:ok, 1} = Concord.increment("hits", store: :client)
    assert {:ok, [_, _, _]} = Concord.members(store: :client)
    assert {:ok, %{cluster: _}} = Concord.status(store: :client)

    stop_supervised!(leader(stores))
    assert eventually(fn -> Concord.put("b", 2, store: :client) == :ok end)
    assert {:ok, 2} = Concord.get("b", store: :client, consistency: :strong)

    Process.flag(:trap_exit, true)
    stranger = [name: :stranger, addresses: addresses, cookie: "another secret"]
    assert {:error, {%Concord.Error{kind: :unauthorized}, _}} = Client.start_link(stranger)
  end
end
