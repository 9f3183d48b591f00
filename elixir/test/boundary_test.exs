# The border between the VM and the native library.

defmodule Concord.BoundaryTest do
  # The border between the VM and the native library: nothing that goes wrong on one side may take the other down, and
  # no scheduler may be held up.
  use Concord.StoreCase, async: false

  alias Concord.Native

  test "a panic is an error, and the VM lives" do
    # The library writes what happened to standard error.
    assert {:error, :internal} = Native.panic()
    assert :ok = Concord.put("alive", 1)
    assert {:ok, 1} = Concord.get("alive")
  end

  test "every function with every wrong type raises or answers an error" do
    handle = Concord.Store.handle(Concord)

    terms = [
      nil,
      :atom,
      0,
      -1,
      2 ** 100,
      1.5,
      "",
      "text",
      <<1::3>>,
      [],
      [1 | 2],
      {},
      {:put},
      {:put, 1, 2, 3, 4, 5},
      %{},
      self(),
      make_ref(),
      handle,
      &is_atom/1
    ]

    calls =
      for {name, arity} <- Native.__info__(:functions), name not in [:load, :panic, :close], a <- terms, b <- terms do
        arguments = Enum.take([a, b, a, b, a, b], arity)

        try do
          apply(Native, name, arguments)
        rescue
          ArgumentError -> :raised
        end
      end

    assert length(calls) > 4000

    # With a good handle and one bad argument each.
    for bad <- terms -- [handle] do
      for arguments <- [
            [handle, bad, {:put, "a", 1, nil, :always, :auto}, 5000],
            [handle, make_ref(), bad, 5000],
            [handle, make_ref(), {:put, bad, bad, bad, bad, bad}, 5000],
            [handle, make_ref(), {:put_many, bad, bad, bad}, 5000],
            [handle, make_ref(), {:touch_many, bad}, 5000],
            [handle, make_ref(), {:increment, "a", bad, bad, nil}, 5000],
            [handle, make_ref(), {:delete, "a", bad}, 5000],
            [handle, make_ref(), {:delete, "a", {:where, bad}}, 5000],
            [handle, make_ref(), {:delete_where, bad}, 5000],
            [handle, make_ref(), {:delete_where, {"nobody", bad, bad, bad, bad, bad, bad, bad}}, 5000]
          ] do
        try do
          apply(Native, :submit, arguments)
        rescue
          ArgumentError -> :raised
        end
      end

      for {name, arguments} <- [
            start_count: [handle, make_ref(), bad, nil, 5000],
            start_count: [handle, make_ref(), {nil, nil, nil, {bad, bad}, nil, nil, 0, nil}, nil, 5000],
            start_count: [handle, make_ref(), {nil, nil, nil, nil, {bad, bad}, nil, 0, nil}, nil, 5000],
            start_walk: [handle, make_ref(), {bad, bad, bad, bad, bad, bad, bad, bad}, :keys, nil, 5000],
            start_walk: [handle, make_ref(), {nil, nil, nil, nil, nil, nil, 0, nil}, bad, bad, bad],
            expression_holds: ["true", "a", bad, bad, bad],
            change: [handle, {:add, bad}, 0],
            change: [handle, {:promote, bad}, 0],
            change: [handle, {:replace, bad, bad}, 0],
            change: [handle, {:transfer_leadership, bad}, bad],
            change: [handle, {bad}, 0],
            wait_ready: [handle, bad],
            open: [
              {nil, :memory, :leader, {true, :zlib, 1024, 6}, 16_777_216, 1000, 67_108_864, bad, {false, true},
               {true, true, false}, nil}
            ],
            open: [in_cluster({bad, bad, bad, bad, bad, bad, bad, bad, bad, bad})],
            open: [in_cluster({"127.0.0.1:0", nil, nil, [], 1, "secret", {"no address", 1}, nil, 200, true})],
            open: [in_cluster({"127.0.0.1:0", nil, nil, [], 1, "secret", {"239.0.0.1", 65_536}, nil, 200, true})],
            open: [in_memory({bad, true}, nil)],
            open: [in_memory({true, bad}, nil)],
            open: [in_memory({false, true}, bad)],
            open: [in_memory({false, true}, {bad, nil, nil, 1024, 1, false})],
            open: [in_memory({false, true}, {{"127.0.0.1", bad}, bad, bad, bad, bad, bad})],
            open: [in_memory({false, true}, {{"nowhere", 0}, nil, nil, 1024, 1, false})],
            as_token: [handle, bad],
            create_token: [handle, bad],
            create_token: [handle, {bad, bad, bad, bad}],
            create_token: [handle, {"name", [bad], [bad], bad}],
            revoke_token: [handle, bad],
            connect: [{nil, ["127.0.0.1:1"], "secret", nil, bad, bad, {true, :zlib, 1024, 6}, bad}],
            connect: [{bad, [], "", bad, nil, :leader, {true, :zlib, 1024, 6}, 1}],
            connect: [{nil, [bad | "127.0.0.1:1"], "secret", nil, nil, :leader, {true, :zlib, 1024, 6}, 1}]
          ] do
        try do
          with {:ok, handle} when name in [:open, :connect] <- apply(Native, name, arguments), do: Native.close(handle)
        rescue
          ArgumentError -> :raised
        end
      end
    end

    assert :ok = Concord.put("alive", 2)
    # Answers of what was accepted above.
    receive_all()
  end

  defp in_cluster(cluster), do: put_elem(in_memory({false, true}, nil), 7, cluster)

  defp in_memory(access, http) do
    {nil, :memory, :leader, {true, :zlib, 1024, 6}, 16_777_216, 1000, 67_108_864, nil, access, {true, true, false},
     http}
  end

  defp receive_all do
    receive do
      _ -> receive_all()
    after
      100 -> :ok
    end
  end

  test "a closed store answers :closed, twice closed is fine" do
    {:ok, handle} = open_in_memory()
    assert :ok = Native.close(handle)
    assert :ok = Native.close(handle)
    assert {:error, :closed} = Concord.Read.run(handle, "a", :value, nil, 100)
    assert {:error, :closed} = Concord.Read.run(handle, "a", :record, :strong, 100)
    assert {:error, :closed} = Concord.Read.run(handle, "a", :ttl, :eventual, 100)
    assert {:error, :closed} = Native.get_many(handle, ["a"], nil, nil)
    assert {:error, :closed} = Native.get_all(handle, false, nil, nil)
    assert {:error, :closed} = Native.status(handle)
    assert {:error, :closed} = Native.members(handle)
    refute Native.ready(handle)
    assert {:error, {_, _}} = Native.wait_ready(handle, 0)
    reference = make_ref()
    slot = Native.start_read(handle, reference, "a", true, :eventual, 100)
    assert is_reference(slot)
    assert_receive {^reference, {:error, :closed}}
    assert {:error, :closed} = Native.submit(handle, make_ref(), {:put, "a", 1, nil, :always, :auto}, 100)
  end

  test "a store that nobody refers to any more closes by itself" do
    dir = fresh_dir()
    settings = in_memory({false, true}, nil) |> put_elem(0, dir) |> put_elem(1, :always)

    spawn_monitor(fn ->
      {:ok, handle} = Native.open(settings)
      {:error, {:locked, _}} = Native.open(settings)
      {:error, :not_found} = Native.get(handle, "a")
    end)

    assert_receive {:DOWN, _, _, _, :normal}, 10_000
    assert {:ok, handle} = retry(fn -> Native.open(settings) end)
    Native.close(handle)
  end

  test "opening and closing again and again keeps neither threads nor much memory" do
    cycle = fn ->
      {:ok, handle} = open_in_memory()
      slot = Native.submit(handle, make_ref(), {:put, "a", 1, nil, :always, :auto}, 5000)
      assert is_reference(slot)
      :ok = Native.close(handle)
    end

    for _ <- 1..50, do: cycle.()
    :erlang.garbage_collect()
    Process.sleep(100)
    {threads, memory} = {threads(), rss_kb()}
    for _ <- 1..200, do: cycle.()
    :erlang.garbage_collect()
    Process.sleep(200)
    assert threads() <= threads + 2
    assert rss_kb() - memory < 40_000
    receive_all()
  end

  @tag timeout: 300_000
  test "a million operations leave no memory behind" do
    store = fresh_store(durability: :memory, snapshot_log_bytes: 1024 * 1024)
    value = %{name: "Alice", tags: [:a, "b"], at: ~U[2025-10-21 12:47:27.231034Z]}
    :ok = Concord.put("large", String.duplicate("x", 100_000), store: store)

    work = fn rounds ->
      tasks =
        for p <- 1..16 do
          Task.async(fn ->
            for i <- 1..rounds do
              key = "#{p}:#{rem(i, 100)}"
              :ok = Concord.put(key, value, store: store)
              {:ok, ^value} = Concord.get(key, store: store)
              {:ok, _} = Concord.get_with_ttl(key, store: store, consistency: :eventual)
              {:error, :not_found} = Concord.get("missing", store: store)
              {:error, :invalid_value} = Concord.put(key, self(), store: store)
              if rem(i, 1000) == 0, do: {:ok, _} = Concord.get("large", store: store)
            end
          end)
        end

      Task.await_many(tasks, :infinity)
      :erlang.garbage_collect()
      Process.sleep(200)
      rss_kb()
    end

    before = work.(3_000)
    assert work.(10_000) - before < 64_000
  end

  defp threads, do: length(File.ls!("/proc/self/task"))

  defp rss_kb do
    [_, kb] = Regex.run(~r/VmRSS:\s+(\d+)/, File.read!("/proc/self/status"))
    String.to_integer(kb)
  end

  test "a killed owner is replaced by one that opens the same directory" do
    dir = fresh_dir()
    store = fresh_store(durability: :always, data_dir: dir)
    :ok = Concord.put("a", 1, store: store)
    Process.exit(Process.whereis(store), :kill)
    assert {:ok, 1} = retry(fn -> Concord.get("a", store: store) end)
    assert :ok = retry(fn -> Concord.put("a", 2, store: store) end)
  end

  test "a killed owner is replaced, again and again" do
    # Before, the handle was erased and then closed: now and then it was gone by then, and the store did not come back.
    store = fresh_store()

    for _ <- 1..20 do
      owner = Process.whereis(store)
      monitor = Process.monitor(owner)
      Process.exit(owner, :kill)
      assert_receive {:DOWN, ^monitor, :process, ^owner, :killed}
      assert :ok = retry(fn -> if Process.whereis(store) in [nil, owner], do: {:error, :noproc}, else: :ok end)
      assert {_, %{name: ^store}} = {:opened, :sys.get_state(store, 30_000)}
      assert :ok = Concord.put("a", 1, store: store)
    end
  end

  test "the library can be loaded again while stores are open" do
    store = fresh_store()
    :ok = Concord.put("a", :before, store: store)
    {:module, Native} = :code.load_file(Native)
    assert {:ok, :before} = Concord.get("a", store: store)
    assert :ok = Concord.put("a", :after, store: store)
    :code.purge(Native)
    {:module, Native} = :code.load_file(Native)
    :code.purge(Native)
    assert {:ok, :after} = Concord.get("a", store: store)
  end

  describe "schedulers" do
    # A scheduler that is held up holds up all its processes. The VM reports what ran for 20 ms at a stretch on a normal
    # one; the same work inline would take far longer.
    test "large values, wide maps and whole stores do not hold one up" do
      store = fresh_store()
      random = :crypto.strong_rand_bytes(7_000_000)
      many = for i <- 1..400_000, do: {i, "value"}
      text = String.duplicate("compressible ", 1_000_000)
      for i <- 1..20, do: {:ok, _} = Concord.put_many(for(j <- 1..500, do: {"k#{i}:#{j}", j}), store: store)

      stretches =
        watch(fn ->
          for {key, value} <- [random: random, many: many, text: text] do
            key = Atom.to_string(key)
            :ok = Concord.put(key, value, store: store)
            {:ok, _} = Concord.get(key, store: store)
            {:ok, _} = Concord.get_with_ttl(key, store: store)
            {:ok, _} = Concord.get_many([key], store: store)
          end

          {:ok, _} = Concord.get_all(store: store)
          {:ok, encoded} = Native.encode(many)
          {:ok, _} = Native.decode(encoded)
        end)

      assert stretches == []
    end

    # The first segment of a log was once waited for, up to 250 ms, on the scheduler of whoever wrote first.
    test "writes to a new store on disk return at once" do
      store = fresh_store(durability: :always, data_dir: fresh_dir(), compression: [enabled: false])
      handle = Concord.Store.handle(store)
      value = :crypto.strong_rand_bytes(1000)

      tasks =
        for p <- 1..64 do
          Task.async(fn -> for i <- 1..100, do: submit(handle, "#{p}:#{i}", value) end)
        end

      longest = tasks |> Task.await_many(60_000) |> List.flatten() |> Enum.max()
      assert longest < 100_000, "a write held its scheduler up for #{longest} us"
    end

    # A pattern of a kilobyte, an expression with eight of them, and walks over everything.
    test "queries do not either" do
      store = fresh_store()
      for i <- 1..40, do: {:ok, _} = Concord.put_many(for(j <- 1..500, do: {"k#{i}:#{j}", j}), store: store)
      long = String.duplicate("(a|b)?[0-9]{1,9}", 60)
      patterns = Enum.map_join(1..8, " or ", fn i -> ~s|matches(key, "^k#{i}(x\\\\w+)+$")| end)
      expression = "value > 400 or " <> patterns

      stretches =
        watch(fn ->
          for _ <- 1..20 do
            {:ok, 20_000} = Concord.Query.count(store: store)
            {:ok, _} = Concord.Query.keys(where: expression, store: store)
            {:ok, []} = Concord.Query.keys(pattern: long, store: store)
            {:ok, 0} = Concord.Query.delete_where(prefix: "x", pattern: long, store: store)
            {:ok, 0} = Concord.Query.delete_where(prefix: "x", where: expression, store: store)
            {:error, :not_found} = Concord.put_if("x", 1, condition: expression, store: store)
            20_000 = Enum.count(Concord.stream(store: store))
          end
        end)

      assert stretches == []
    end

    # Microseconds until the library returned; the answer is waited for, not counted.
    defp submit(handle, key, value) do
      reference = make_ref()
      started = System.monotonic_time(:microsecond)
      slot = Native.submit(handle, reference, {:put, key, value, nil, :always, :auto}, 60_000)
      returned = System.monotonic_time(:microsecond)
      assert is_reference(slot)
      assert_receive {^reference, :ok}, 60_000
      returned - started
    end

    test "small values do not either" do
      store = fresh_store()
      just_inline = for i <- 1..7_000, do: {i, 1}

      stretches =
        watch(fn ->
          for i <- 1..200 do
            :ok = Concord.put("a#{i}", just_inline, store: store, compress: false)
            {:ok, _} = Concord.get("a#{i}", store: store)
          end
        end)

      assert stretches == []
    end

    defp watch(work) do
      collector = spawn_link(fn -> collect([]) end)
      old = :erlang.system_monitor(collector, [{:long_schedule, 20}])
      worker = Task.async(work)
      Task.await(worker, 120_000)
      :erlang.system_monitor(old)
      send(collector, {:give, self()})

      receive do
        {:stretches, stretches} ->
          # What other processes do meanwhile is theirs.
          for {:monitor, pid, :long_schedule, info} <- stretches, pid == worker.pid, in_native?(info), do: info
      after
        5_000 -> flunk("no answer")
      end
    end

    defp in_native?(info) do
      Enum.any?([info[:in], info[:out]], &match?({Concord.Native, _, _}, &1))
    end

    defp collect(messages) do
      receive do
        {:give, to} -> send(to, {:stretches, messages})
        message -> collect([message | messages])
      end
    end
  end

  defp open_in_memory do
    Native.open(in_memory({false, true}, nil))
  end

  defp retry(attempt, tries \\ 100) do
    case attempt.() do
      {:error, _} when tries > 0 ->
        Process.sleep(50)
        retry(attempt, tries - 1)

      answer ->
        answer
    end
  end
end
