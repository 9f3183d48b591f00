# Stories of every verb and error, and the examples of the documentation.

defmodule ConcordTest do
  # The documentation's examples, and what the verbs promise beyond them.
  use Concord.StoreCase, async: false

  # The examples of the documentation, run in order on an empty store.
  setup do
    {:ok, all} = Concord.get_all()
    for keys <- all |> Map.keys() |> Enum.chunk_every(500), do: {:ok, _} = Concord.delete_many(keys)
    :ok
  end

  doctest Concord
  doctest Concord.Compression

  describe "the examples of the original documents" do
    test "compare and swap, predicates, and a lock that is given back by its owner only" do
      :ok = Concord.put("counter", 0)
      {:ok, current} = Concord.get("counter")
      assert :ok = Concord.put_if("counter", current + 1, expected: current)
      assert {:error, :condition_failed} = Concord.put_if("counter", current + 1, expected: current)

      :ok = Concord.put("config", %{version: 1, settings: %{enabled: true}})
      new = %{version: 2, settings: %{enabled: false}}
      assert :ok = Concord.put_if("config", new, condition: fn current -> current.version < new.version end)
      assert {:error, :condition_failed} = Concord.put_if("config", new, condition: &(&1.version < new.version))

      :ok = Concord.put("temp_file", %{created_at: ~U[2024-01-01 00:00:00Z], size: 100})
      cutoff = ~U[2025-01-01 00:00:00Z]
      assert :ok = Concord.delete_if("temp_file", condition: &(DateTime.compare(&1.created_at, cutoff) == :lt))

      assert :ok = Concord.put_new("lock", "process-1", ttl: 30)
      assert {:error, :already_exists} = Concord.put_new("lock", "process-2", ttl: 30)
      assert {:error, :condition_failed} = Concord.delete_if("lock", expected: "process-2")
      assert :ok = Concord.delete_if("lock", expected: "process-1")
      assert {:error, :not_found} = Concord.delete_if("lock", expected: "process-1")
    end

    test "sessions, services and levels" do
      user = %{name: "Alice", role: "admin", last_login: DateTime.utc_now()}
      :ok = Concord.put("user:1001", user, timeout: 5000)
      assert {:ok, ^user} = Concord.get("user:1001")
      :ok = Concord.put("session:1", user, ttl: 1800)
      assert {:ok, {^user, 1800}} = Concord.get_with_ttl("session:1")
      :ok = Concord.touch("session:1", 3600)
      assert {:ok, 3600} = Concord.ttl("session:1", consistency: :eventual)

      for level <- [:eventual, :leader, :strong] do
        assert {:ok, ^user} = Concord.get("user:1001", consistency: level)
        assert {:ok, %{"user:1001" => {:ok, ^user}}} = Concord.get_many(["user:1001"], consistency: level)
        assert {:ok, %{cluster: %{state: :leader}}} = Concord.status(consistency: level)
      end

      assert {:ok, all} = Concord.get_all(consistency: :strong)
      assert [{"user:1001", ^user}] = Enum.filter(all, fn {key, _} -> String.starts_with?(key, "user:") end)
    end
  end

  describe "conditions" do
    test "a predicate that raises raises here and harms nothing" do
      # It once killed the store for good.
      :ok = Concord.put("a", 1)
      assert_raise KeyError, fn -> Concord.put_if("a", 2, condition: fn value -> Map.fetch!(%{}, value) end) end
      assert catch_throw(Concord.delete_if("a", condition: fn _ -> throw(:up) end)) == :up
      assert {:ok, 1} = Concord.get("a")
      assert :ok = Concord.put("a", 2)
    end

    test "a predicate is asked again when the record has changed meanwhile" do
      :ok = Concord.put("a", 1)
      me = self()

      condition = fn value ->
        send(me, {:asked, value})
        if value == 1, do: :ok = Concord.put("a", 2)
        true
      end

      assert :ok = Concord.put_if("a", 3, condition: condition)
      assert [{:asked, 1}, {:asked, 2}] = mailbox()
      assert {:ok, 3} = Concord.get("a")
    end

    test "a predicate that never sees a record at rest gives up in time, having done nothing" do
      :ok = Concord.put("a", 1)
      condition = fn value -> Concord.put("a", value + 1) == :ok end
      assert {:error, :timeout} = Concord.put_if("a", "done", condition: condition, timeout: 50)
      assert {:ok, number} = Concord.get("a")
      assert is_integer(number)
    end

    test "what is expected may be nil, but must be one thing" do
      :ok = Concord.put("a", nil)
      assert :ok = Concord.put_if("a", 1, expected: nil)
      assert {:error, :missing_condition} = Concord.put_if("a", 1, ttl: 5)
      assert {:error, :conflicting_conditions} = Concord.put_if("a", 1, expected: 1, condition: & &1)
      assert {:error, :conflicting_conditions} = Concord.delete_if("a", expected: 1, revision: 1)
      assert {:error, :invalid_condition} = Concord.put_if("a", 1, condition: :always)
      assert {:error, :invalid_condition} = Concord.put_if("a", 1, condition: fn -> true end)
      assert {:error, :invalid_condition} = Concord.put_if("a", 1, revision: "1")
      assert {:error, :invalid_condition} = Concord.delete_if("a", expected: :absent)
      assert {:error, :invalid_key} = Concord.put_if("", 1, [])
      assert {:error, :invalid_ttl} = Concord.put_if("a", 1, condition: &(&1 == 1), ttl: 0)
      assert {:ok, 1} = Concord.get("a")
    end

    test "values compare as == does" do
      :ok = Concord.put("a", %{n: 1, list: [1.0, {:x, 2}]})
      assert :ok = Concord.put_if("a", "done", expected: %{list: [1, {:x, 2.0}], n: 1.0})
      :ok = Concord.put("a", :atom)
      assert {:error, :condition_failed} = Concord.put_if("a", 1, expected: "atom")
    end
  end

  describe "bulk" do
    test "every item is checked, and one bad item stops all" do
      # Only the first one was once looked at.
      good = {"good", 1}
      assert {:error, :invalid_operation_format} = Concord.put_many([:no_tuple, good])
      assert {:error, :invalid_operation_format} = Concord.put_many([good, {:no_binary, 1}])
      assert {:error, :invalid_operation_format} = Concord.put_many([good, {"a", 1, 2, 3}])
      assert {:error, :invalid_operation_format} = Concord.put_many([good | :tail])
      assert {:error, :invalid_key} = Concord.put_many([good, {"", 1}])
      assert {:error, :invalid_key} = Concord.put_many([good, {String.duplicate("k", 1025), 1}])
      assert {:error, :invalid_ttl} = Concord.put_many([good, {"a", 1, 0}])
      assert {:error, :invalid_ttl} = Concord.put_many([good, {"a", 1, "60"}])
      assert {:error, :invalid_value} = Concord.put_many([good, {"a", self()}])
      assert {:error, :batch_too_large} = Concord.put_many(for i <- 1..501, do: {"k#{i}", i})
      assert {:error, :invalid_touch_operation} = Concord.touch_many([{"good", 0}])
      assert {:error, :invalid_touch_operation} = Concord.touch_many([{"good", nil}])
      assert {:error, :invalid_key} = Concord.get_many(["good", :key])
      assert {:error, :invalid_key} = Concord.delete_many(["good", ""])
      assert {:ok, %{}} = Concord.put_many([])
      assert {:ok, all} = Concord.get_all()
      assert all == %{}
    end

    test "500 items, lifetimes of their own and one for the rest, the last of two" do
      items = for i <- 1..499, do: {"k#{i}", %{n: i}}
      assert {:ok, results} = Concord.put_many([{"k1", "first", 600} | items], ttl: 60, compress: true)
      assert map_size(results) == 499
      assert {:ok, {%{n: 1}, 60}} = Concord.get_with_ttl("k1")
      assert {:ok, many} = Concord.get_many(Map.keys(results))
      assert many == Map.new(items, fn {key, value} -> {key, {:ok, value}} end)
      assert {:ok, _} = Concord.put_many_with_ttl([{"a", 1}, {"b", 1, nil}], 30)
      assert {:ok, 30} = Concord.ttl("a")
      assert {:ok, nil} = Concord.ttl("b")
    end
  end

  describe "misuse raises, data never does" do
    test "options that nobody knows, and values that no option has" do
      assert_raise ArgumentError, ~r/tll/, fn -> Concord.put("a", 1, tll: 5) end
      assert_raise ArgumentError, fn -> Concord.get("a", consistency: :sometimes) end
      assert_raise ArgumentError, fn -> Concord.get("a", timeout: -1) end
      assert_raise ArgumentError, fn -> Concord.put("a", 1, compress: :yes) end
      assert_raise ArgumentError, fn -> Concord.put("a", 1, consistency: :strong) end
      assert_raise ArgumentError, fn -> Concord.get("a", :eventual) end
    end

    test "other types where a number or a list belongs" do
      assert_raise FunctionClauseError, fn -> Concord.touch("a", [60]) end
      assert_raise FunctionClauseError, fn -> Concord.put_with_ttl("a", 1, :infinity) end
      assert_raise FunctionClauseError, fn -> Concord.put_many(%{"a" => 1}) end
      assert_raise FunctionClauseError, fn -> Concord.increment("a", 1.5) end
    end

    test "keys and lifetimes come from data" do
      for key <- ["", :atom, 1, nil, 'charlist', <<1::3>>, {"a"}, String.duplicate("k", 1025)] do
        assert {:error, :invalid_key} = Concord.put(key, 1)
        assert {:error, :invalid_key} = Concord.get(key)
        assert {:error, :invalid_key} = Concord.get(key, with: :record)
        assert {:error, :invalid_key} = Concord.ttl(key)
        assert {:error, :invalid_key} = Concord.delete(key)
        assert {:error, :invalid_key} = Concord.increment(key)
        assert {:error, :invalid_key} = Concord.touch(key, 5)
        assert {:error, :invalid_key} = Concord.get_many([key])
        assert {:error, :invalid_key} = Concord.put_if(key, 1, expected: 1)
      end

      for ttl <- [0, -1, 1.5, "60", :forever, [], 31_536_000_001, 2 ** 70] do
        assert {:error, :invalid_ttl} = Concord.put("a", 1, ttl: ttl)
      end

      assert :ok = Concord.put("a", 1, ttl: :infinity)
      assert {:ok, nil} = Concord.ttl("a")
      assert {:error, :value_too_large} = Concord.increment("a", 2 ** 70)
      assert :ok = Concord.put(String.duplicate("k", 1024), 1)
    end
  end

  test "a store that is not running" do
    assert {:error, :noproc} = Concord.get("a", store: :nobody)
    assert {:error, :noproc} = Concord.put("a", 1, store: :nobody)
    assert {:error, :noproc} = Concord.put_many([{"a", 1}], store: :nobody)
    assert {:error, :noproc} = Concord.get_all(store: :nobody)
    assert {:error, :noproc} = Concord.status(store: :nobody)
    assert {:error, :noproc} = Concord.put_if("a", 1, condition: & &1, store: :nobody)
  end

  test "what expired is gone for every read and is not revived" do
    :ok = Concord.put("a", 1, ttl: 1)
    Process.sleep(1_050)
    assert {:error, :not_found} = Concord.get("a")
    assert {:error, :not_found} = Concord.touch("a", 60)
    assert {:error, :not_found} = Concord.put_if("a", 2, condition: fn _ -> true end)
    assert {:ok, all} = Concord.get_all()
    refute Map.has_key?(all, "a")
  end
end
