# Writes that are given up, whose caller dies, or that come all at once.

defmodule Concord.WritesTest do
  # A write returns at once and its answer comes as a message: nothing may be left in a mailbox, whoever gives up or dies.
  use Concord.StoreCase, async: false

  setup do
    # On disk, so that an answer takes longer than a millisecond.
    {:ok, store: fresh_store(durability: :always, data_dir: fresh_dir(), compression: [enabled: false])}
  end

  test "a write that is given up answers :unknown_outcome, and its answer never comes", %{store: store} do
    large = :crypto.strong_rand_bytes(2_000_000)
    answers = for i <- 1..20, do: Concord.put("a", [i, large], timeout: 1, store: store)
    assert {:error, :unknown_outcome} in answers
    # A store whose disk is behind may refuse some at once.
    assert Enum.all?(answers, &(&1 in [:ok, {:error, :unknown_outcome}, {:error, :cluster_not_ready}]))
    assert :ok = put_when_ready("last", 1, store)
    Process.sleep(50)
    assert mailbox() == []
  end

  defp put_when_ready(key, value, store) do
    case Concord.put(key, value, store: store, timeout: 30_000) do
      {:error, :cluster_not_ready} ->
        Process.sleep(50)
        put_when_ready(key, value, store)

      answer ->
        answer
    end
  end

  test "a timeout of nothing is refused before anything is done", %{store: store} do
    assert {:error, :timeout} = Concord.put("a", 1, timeout: 0, store: store)
    assert {:error, :not_found} = Concord.get("a", store: store)
    assert mailbox() == []
  end

  test "messages of others stay, and a full mailbox does not slow a write down", %{store: store} do
    for i <- 1..100_000, do: send(self(), {make_ref(), i})
    {micros, :ok} = :timer.tc(fn -> for(_ <- 1..50, do: :ok = Concord.put("a", 1, store: store)) && :ok end)
    # Looking through 100,000 messages for each answer would add about 300 µs a write.
    {:ok, other} = Task.start(fn -> Process.sleep(:infinity) end)
    Process.exit(other, :kill)
    assert length(mailbox()) == 100_000
    assert micros < 50 * 100_000
  end

  test "callers that die while their write is on its way harm nobody", %{store: store} do
    for round <- 1..20 do
      callers = for i <- 1..50, do: spawn(fn -> Concord.put("d:#{round}:#{i}", i, store: store) end)
      for pid <- callers, do: Process.exit(pid, :kill)
    end

    assert :ok = Concord.put("after", 1, store: store)
    {:ok, all} = Concord.get_all(store: store)
    assert all["after"] == 1
    # What was written is whole.
    for {"d:" <> rest, value} <- all, do: assert(rest |> String.split(":") |> List.last() == "#{value}")
  end

  test "256 processes: every acknowledged write is there, every counter adds up", %{store: store} do
    tasks =
      for p <- 1..256 do
        Task.async(fn ->
          for i <- 1..20 do
            :ok = Concord.put("p:#{p}:#{i}", {p, i}, store: store)
            {:ok, {^p, ^i}} = Concord.get("p:#{p}:#{i}", store: store)
            {:ok, _} = Concord.increment("sum", p, store: store)
          end

          mailbox()
        end)
      end

    assert tasks |> Task.await_many(60_000) |> Enum.all?(&(&1 == []))
    assert {:ok, sum} = Concord.get("sum", store: store)
    assert sum == 20 * Enum.sum(1..256)
    for p <- 1..256, i <- 1..20, do: assert(Concord.get("p:#{p}:#{i}", store: store) == {:ok, {p, i}})
  end

  test "put_new has one winner", %{store: store} do
    tasks = for p <- 1..100, do: Task.async(fn -> Concord.put_new("lock", p, store: store) end)
    assert tasks |> Task.await_many() |> Enum.count(&(&1 == :ok)) == 1
  end

  test "predicates of many processes never lose an update", %{store: store} do
    :ok = Concord.put("n", 0, store: store)

    add = fn add ->
      {:ok, n} = Concord.get("n", store: store)

      case Concord.put_if("n", n + 1, condition: &(&1 == n), store: store) do
        :ok -> :ok
        {:error, :condition_failed} -> add.(add)
      end
    end

    tasks = for _ <- 1..10, do: Task.async(fn -> for _ <- 1..5, do: add.(add) end)
    Task.await_many(tasks, 60_000)
    assert {:ok, 50} = Concord.get("n", store: store)
  end

  test "everything that was acknowledged is there after a restart" do
    dir = fresh_dir()
    {:ok, _} = start_supervised({Concord, name: :first, durability: :always, data_dir: dir})
    for i <- 1..100, do: :ok = Concord.put("k#{i}", %{i: i}, store: :first)
    :ok = Concord.put("short", 1, ttl: 600, store: :first)
    {:ok, before} = Concord.get_all(store: :first)
    :ok = stop_supervised({Concord.Store, :first})
    assert {:error, :noproc} = Concord.get("k1", store: :first)

    {:ok, _} = start_supervised({Concord, name: :second, durability: :always, data_dir: dir})
    assert {:ok, ^before} = Concord.get_all(store: :second)
    assert {:ok, ttl} = Concord.ttl("short", store: :second)
    assert ttl in 590..600
  end
end
