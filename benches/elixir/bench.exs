# Measures what TARGETS promises for Elixir (rows P1 to P5) and prints one JSON object a line:
# {"id", "name", "value", "unit", "baseline", "ratio"}; ratio = ours / baseline in time per call, both from this run.
#
#     cd elixir && MIX_ENV=prod mix run --no-start ../benches/elixir/bench.exs [seconds per row]
#
# Every result is checked: reads answer the value that was put, and every acknowledged write is read back.
# Rows whose baseline is the disk write to the directory in BENCH_DIR, or below the working directory.

defmodule Bench do
  @value_bytes 100
  @keys 100_000

  def run(seconds) do
    {:ok, _} = Application.ensure_all_started(:logger)
    # Should the application run, its own store makes room for those that are measured.
    Application.stop(:concord)
    dir = Path.expand(System.get_env("BENCH_DIR", "_build/bench-#{System.pid()}"))
    File.mkdir_p!(dir)

    try do
      reads(seconds)
      durable(dir, seconds)
      in_memory(seconds)
    after
      File.rm_rf!(dir)
    end
  end

  # P1: one process reads one of 100,000 keys; beside it ETS with the same keys, values and order of access.
  defp reads(seconds) do
    with_store([durability: :memory], fn ->
      keys = for i <- 1..@keys, do: "key:#{i}"
      table = :ets.new(:bench, [:set, :public, read_concurrency: true])

      for chunk <- Enum.chunk_every(keys, 500) do
        items = for key <- chunk, do: {key, value(key)}
        {:ok, _} = Concord.put_many(items)
        :ets.insert(table, items)
      end

      sample = keys |> Enum.take_random(20_000)
      for key <- sample, Concord.get(key) != {:ok, value(key)}, do: raise("#{key} is wrong")

      round = seconds * 1_000_000_000 / 5
      # One round of each in turn, so that noise meets all alike; the median counts.
      rows =
        for _ <- 1..5 do
          %{
            ets: per_call(sample, round / 4, &get_ets(&1, table)),
            leader: per_call(sample, round / 4, fn keys -> get_default(keys) end),
            eventual: per_call(sample, round / 4, fn keys -> get_level(keys, consistency: :eventual) end),
            strong: per_call(sample, round / 4, fn keys -> get_level(keys, consistency: :strong) end)
          }
        end

      median = fn key -> rows |> Enum.map(& &1[key]) |> Enum.sort() |> Enum.at(2) end
      ets = median.(:ets)
      row("P1", "Elixir get, default level; baseline: ETS lookup", median.(:leader), "ns", ets, median.(:leader) / ets)
      row("P1eventual", "Elixir get, :eventual", median.(:eventual), "ns", ets, median.(:eventual) / ets)
      row("P1strong", "Elixir get, :strong", median.(:strong), "ns", ets, median.(:strong) / ets)
    end)
  end

  defp get_ets([], _table), do: :ok

  defp get_ets([key | keys], table) do
    [{_, <<_::binary>>}] = :ets.lookup(table, key)
    get_ets(keys, table)
  end

  defp get_default([]), do: :ok

  defp get_default([key | keys]) do
    {:ok, <<_::binary>>} = Concord.get(key)
    get_default(keys)
  end

  defp get_level([], _options), do: :ok

  defp get_level([key | keys], options) do
    {:ok, <<_::binary>>} = Concord.get(key, options)
    get_level(keys, options)
  end

  defp per_call(keys, budget_ns, pass) do
    pass.(keys)
    loop(keys, pass, System.monotonic_time(:nanosecond), budget_ns, 0)
  end

  defp loop(keys, pass, started, budget_ns, calls) do
    pass.(keys)
    calls = calls + length(keys)
    spent = System.monotonic_time(:nanosecond) - started
    if spent < budget_ns, do: loop(keys, pass, started, budget_ns, calls), else: spent / calls
  end

  # P2, P3, P5: on disk. The baseline of P2 is a bare loop that appends the same bytes to a raw file that was
  # filled with zeros before, and calls :file.datasync after each; the two take turns.
  defp durable(dir, seconds) do
    with_store([data_dir: Path.join(dir, "store"), compression: [enabled: false]], fn ->
      rounds =
        for round <- 1..3 do
          {bare(Path.join(dir, "bare-#{round}"), seconds / 6), puts(1, seconds / 6, "p2-#{round}")}
        end

      bare = rounds |> Enum.map(&elem(&1, 0)) |> Enum.sort() |> Enum.at(1)
      one = rounds |> Enum.map(&(1_000_000 / elem(&1, 1))) |> Enum.sort() |> Enum.at(1)
      row("P2", "Elixir put, durable, 1 process; baseline: bare append and fdatasync", one, "us", bare, one / bare)

      many = puts(128, seconds, "p3")

      row(
        "P3",
        "Elixir put, durable, 128 processes; baseline as P2",
        many,
        "calls/s",
        1_000_000 / bare,
        1_000_000 / bare / many
      )

      for processes <- [1, 8] do
        rate = put_manys(processes, seconds, "p5-#{processes}")
        id = if processes == 1, do: "P5", else: "P5x#{processes}"
        name = "Elixir put_many of 500, durable, #{processes} process(es), keys; baseline as P2"
        row(id, name, rate, "calls/s", 1_000_000 / bare, 1_000_000 / bare / rate)
      end
    end)
  end

  # P4: nothing is written to disk; the baseline is :ets.insert from as many processes.
  defp in_memory(seconds) do
    with_store([durability: :memory, compression: [enabled: false]], fn ->
      table = :ets.new(:bench, [:set, :public, write_concurrency: true])
      ets = rate(64, seconds / 2, "p4", fn key, value -> :ets.insert(table, {key, value}) end, fn _ -> :ok end)
      rate = puts(64, seconds, "p4")
      row("P4", "Elixir put, durability memory, 64 processes; baseline: ETS insert", rate, "calls/s", ets, ets / rate)
    end)
  end

  defp bare(path, seconds) do
    bytes = :binary.copy("x", @value_bytes + 50)
    {:ok, file} = :file.open(path, [:raw, :binary, :read, :write])
    :ok = :file.write(file, :binary.copy(<<0>>, 16 * 1024 * 1024))
    :ok = :file.datasync(file)
    started = System.monotonic_time(:microsecond)
    calls = append(file, bytes, 0, started + seconds * 1_000_000)
    spent = System.monotonic_time(:microsecond) - started
    :ok = :file.close(file)
    File.rm!(path)
    spent / calls
  end

  defp append(file, bytes, calls, until) do
    :ok = :file.pwrite(file, calls * byte_size(bytes), bytes)
    :ok = :file.datasync(file)
    if System.monotonic_time(:microsecond) < until, do: append(file, bytes, calls + 1, until), else: calls + 1
  end

  defp puts(processes, seconds, prefix) do
    put = fn key, value -> :ok = Concord.put(key, value) end

    rate(processes, seconds, prefix, put, fn key -> {:ok, value(key)} == Concord.get(key) || raise("#{key} is lost") end)
  end

  @keys_per_process 1_000

  # Calls a second of processes that each write their own 1,000 keys again and again, after a warm-up of a tenth as
  # long. Keys and values are made before, so that the store is measured and not the caller.
  defp rate(processes, seconds, prefix, write, check) do
    own = for p <- 1..processes, do: for(i <- 1..@keys_per_process, do: pair("#{prefix}:#{p}:#{i}"))

    run = fn seconds ->
      until = System.monotonic_time(:microsecond) + round(seconds * 1_000_000)
      started = System.monotonic_time(:microsecond)
      tasks = for pairs <- own, do: Task.async(fn -> writes(pairs, pairs, write, 0, until) end)
      counts = Task.await_many(tasks, :infinity)
      {counts, System.monotonic_time(:microsecond) - started}
    end

    run.(seconds / 10)
    {counts, spent} = run.(seconds)

    for {pairs, count} <- Enum.zip(own, counts), {key, _value} <- Enum.take(pairs, count), do: check.(key)

    Enum.sum(counts) * 1_000_000 / spent
  end

  defp pair(key), do: {key, value(key)}

  defp writes([], all, write, count, until), do: writes(all, all, write, count, until)

  defp writes([{key, value} | rest], all, write, count, until) do
    write.(key, value)

    if System.monotonic_time(:microsecond) < until,
      do: writes(rest, all, write, count + 1, until),
      else: count + 1
  end

  defp put_manys(processes, seconds, prefix) do
    batches = for p <- 1..processes, do: for(b <- 1..20, do: batch("#{prefix}:#{p}:#{b}"))
    until = System.monotonic_time(:microsecond) + round(seconds * 1_000_000)
    started = System.monotonic_time(:microsecond)
    tasks = for own <- batches, do: Task.async(fn -> batch_writes(own, own, 0, until) end)
    count = tasks |> Task.await_many(:infinity) |> Enum.sum()
    spent = System.monotonic_time(:microsecond) - started

    for own <- batches, batch <- Enum.take(own, div(count, processes)), {key, value} <- batch do
      {:ok, value} == Concord.get(key) || raise("#{key} is lost")
    end

    count * 500 * 1_000_000 / spent
  end

  defp batch(prefix), do: for(i <- 1..500, do: {"#{prefix}:#{i}", value("#{prefix}:#{i}")})

  defp batch_writes([], all, count, until), do: batch_writes(all, all, count, until)

  defp batch_writes([batch | rest], all, count, until) do
    {:ok, done} = Concord.put_many(batch)
    500 = map_size(done)
    if System.monotonic_time(:microsecond) < until, do: batch_writes(rest, all, count + 1, until), else: count + 1
  end

  defp value(key), do: String.pad_trailing(key, @value_bytes, "x")

  defp with_store(settings, function) do
    {:ok, store} = Concord.start_link(settings)
    function.()
    GenServer.stop(store, :normal, :infinity)
    :erlang.garbage_collect()
  end

  defp row(id, name, value, unit, baseline, ratio) do
    numbers = [value, baseline, ratio] |> Enum.map(&:erlang.float_to_binary(&1 * 1.0, decimals: 3))
    [value, baseline, ratio] = numbers

    IO.puts(
      ~s({"id":"#{id}","name":"#{name}","value":#{value},"unit":"#{unit}","baseline":#{baseline},"ratio":#{ratio}})
    )
  end
end

seconds =
  case System.argv() do
    [seconds | _] -> String.to_integer(seconds)
    [] -> 3
  end

Bench.run(seconds)
