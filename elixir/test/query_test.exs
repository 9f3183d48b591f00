# Queries, streams, and expressions, as the documents show them.

defmodule Concord.QueryTest do
  use Concord.StoreCase, async: true

  alias Concord.{Expression, Golden, Json, Native, Query, Store, Verbs}

  doctest Concord.Query
  doctest Concord.Expression

  @shop [
    {"user:1", %{role: "admin", age: 31}},
    {"user:2", %{role: "user", age: 40}},
    {"user:100", %{role: :admin, age: 29}},
    {"product:1", %{price: 50}},
    {"product:2", %{price: 150}},
    {"product:3", %{price: 199}}
  ]

  defp shop(store \\ fresh_store()) do
    {:ok, _} = Concord.put_many(@shop, store: store)
    store
  end

  defp numbers(count) do
    store = fresh_store()

    for part <- Enum.chunk_every(1..count, 500) do
      {:ok, _} = Concord.put_many(for(n <- part, do: {key(n), n}), store: store)
    end

    store
  end

  defp key(n), do: "n:" <> String.pad_leading("#{n}", 6, "0")

  describe "the documents" do
    test "their examples hold" do
      store = shop()
      assert {:ok, ["user:1", "user:100", "user:2"]} = Query.keys(prefix: "user:", store: store)
      assert {:ok, ["product:1", "user:1"]} = Query.keys(suffix: ":1", store: store)
      assert {:ok, ["user:1", "user:100"]} = Query.keys(contains: "er:1", store: store)
      assert {:ok, ["user:100"]} = Query.keys(pattern: ~r/user:\d{3}/, store: store)
      assert {:ok, ["user:100", "user:2"]} = Query.keys(range: {"user:100", "user:200"}, store: store)

      dear = fn {_k, v} -> v.price > 100 end
      expected = [{"product:2", %{price: 150}}, {"product:3", %{price: 199}}]
      assert {:ok, ^expected} = Query.where(prefix: "product:", filter: dear, store: store)

      old = fn {_k, v} -> v.age >= 30 and v.role == "admin" end
      assert {:ok, [{"user:1", _}]} = Query.where(prefix: "user:", filter: old, store: store)
      assert {:ok, ["user:1", "user:100"]} = Query.keys(prefix: "user:", limit: 2, store: store)
      assert {:ok, ["user:2"]} = Query.keys(prefix: "user:", offset: 2, limit: 50, store: store)
      assert {:ok, []} = Query.keys(prefix: "user:", offset: 100, limit: 50, store: store)
      assert {:ok, ["user:100"]} = Query.keys(prefix: "user:", pattern: ~r/\d{3}/, limit: 10, store: store)
      assert {:ok, 3} = Query.count(prefix: "user:", store: store)
      assert {:ok, 3} = Query.delete_where(prefix: "user:", store: store)
      assert {:ok, 0} = Query.delete_where(prefix: "user:", store: store)
      assert {:ok, 2} = Query.delete_where(range: {"product:1", "product:2"}, store: store)
      assert {:ok, ["product:3"]} = Query.keys(store: store)
    end

    test "an expression says what a function says" do
      store = shop()
      assert {:ok, pairs} = Query.where(where: ~s|value.age >= 30 and value.role == "admin"|, store: store)
      assert pairs == [{"user:1", %{role: "admin", age: 31}}]
      # An atom is its name.
      assert {:ok, ["user:1", "user:100"]} = Query.keys(where: ~s|value.role == "admin"|, store: store)
      assert {:ok, 2} = Query.count(prefix: "product:", where: "value.price > 100", store: store)
      assert {:ok, 2} = Query.delete_where(prefix: "product:", where: "value.price > 100", store: store)
      assert :ok = Concord.put_if("user:1", 1, condition: "value.age == 31", store: store)
      assert {:error, :condition_failed} = Concord.put_if("user:2", 1, condition: "value.age == 31", store: store)
      assert {:error, :not_found} = Concord.delete_if("user:3", condition: "true", store: store)
      assert :ok = Concord.delete_if("user:1", condition: "value == 1", store: store)
    end
  end

  describe "a filter" do
    test "counts for offset and limit, and is asked no more than needed" do
      store = numbers(3_000)
      me = self()

      even = fn {_key, n} ->
        send(me, {:asked, n})
        rem(n, 2) == 0
      end

      assert {:ok, keys} = Query.keys(filter: even, offset: 2, limit: 3, store: store)
      assert keys == Enum.map([6, 8, 10], &key/1)
      refute_received {:asked, 11}
      assert {:ok, 1_500} = Query.count(filter: fn {_key, n} -> rem(n, 2) == 0 end, store: store)
      assert {:ok, 7} = Query.count(filter: fn {_key, n} -> n > 2_990 end, offset: 3, store: store)
      assert {:ok, []} = Query.keys(filter: fn _ -> flunk("asked") end, limit: 0, store: store)
      assert {:ok, [{_, 2}]} = Query.where(where: "value > 1", filter: fn {_, n} -> n < 3 end, store: store)
    end

    test "that raises raises here, harms nothing, and nothing is left in the mailbox" do
      store = numbers(10)
      assert_raise RuntimeError, "no", fn -> Query.keys(filter: fn _ -> raise "no" end, store: store) end
      assert catch_throw(Query.delete_where(filter: fn _ -> throw(:no) end, store: store)) == :no
      assert {:ok, 10} = Query.count(store: store)
      assert mailbox() == []
    end

    test "of delete_where leaves alone what changed since it was asked" do
      store = numbers(2_500)

      # While the function looks at the first record, the second one changes and the third one goes.
      filter = fn {_key, n} ->
        if n == 1 do
          :ok = Concord.put(key(2), "changed", store: store)
          :ok = Concord.delete(key(3), store: store)
        end

        n <= 2_000
      end

      assert {:ok, 1_998} = Query.delete_where(prefix: "n:", filter: filter, store: store)
      assert {:ok, "changed"} = Concord.get(key(2), store: store)
      assert {:ok, 501} = Query.count(store: store)
      assert mailbox() == []
    end
  end

  describe "a stream" do
    test "is one point in time for as long as it is walked, and a new one the next time" do
      store = numbers(2_500)
      stream = Concord.stream(prefix: "n:", store: store)

      seen =
        Enum.map(stream, fn {key, n} ->
          if n == 1, do: {:ok, 2_500} = Query.delete_where(prefix: "", store: store)
          {key, n}
        end)

      assert seen == Enum.map(1..2_500, &{key(&1), &1})
      assert Enum.to_list(stream) == []
    end

    test "gives pairs, keys or records" do
      store = fresh_store()
      :ok = Concord.put("a", 1, store: store)
      :ok = Concord.put("b", 2, ttl: 60, store: store)
      assert Enum.to_list(Concord.stream(store: store)) == [{"a", 1}, {"b", 2}]
      assert Enum.to_list(Concord.stream(with: :key, store: store)) == ["a", "b"]
      assert Enum.to_list(Concord.stream(with: :key, filter: &match?({_, 2}, &1), store: store)) == ["b"]

      assert [{"a", %{value: 1, revision: 1, ttl: nil}}, {"b", %{value: 2, revision: 2, ttl: ttl}}] =
               Enum.to_list(Concord.stream(with: :record, store: store))

      assert ttl in 59..60
    end

    test "that is left early lets its point in time go, and so does a process that ends" do
      store = numbers(2_000)
      assert [{_, 1}, {_, 2}] = Enum.take(Concord.stream(store: store), 2)
      assert_raise RuntimeError, fn -> Enum.each(Concord.stream(store: store), fn _ -> raise "no" end) end

      me = self()

      pid =
        spawn(fn ->
          Enum.each(Concord.stream(store: store), fn {_, n} ->
            if n == 1, do: send(me, :walking) && Process.sleep(:infinity)
          end)
        end)

      assert_receive :walking, 5_000
      Process.exit(pid, :kill)

      # A walk keeps what is replaced: were one left, this would be 200 MB.
      {:ok, %{storage: %{memory: before}}} = Concord.status(store: store)

      for round <- 1..20, part <- Enum.chunk_every(1..2_000, 500) do
        text = String.duplicate("#{rem(round, 10)}", 5_000)
        {:ok, _} = Concord.put_many(for(n <- part, do: {key(n), text}), store: store, compress: false)
      end

      assert eventually(fn ->
               {:ok, %{storage: %{memory: now}}} = Concord.status(store: store)
               now - before < 60_000_000
             end)

      assert mailbox() == []
    end

    test "raises what goes wrong" do
      for {kind, options} <- [
            noproc: [store: :nobody],
            invalid_condition: [where: "value >", store: fresh_store()],
            invalid_condition: [range: {"b", "a"}, store: fresh_store()],
            unauthorized: [store: Verbs.guarded_store()]
          ] do
        stream = Concord.stream(options)
        assert %Concord.Error{kind: ^kind} = catch_error(Enum.to_list(stream))
      end

      assert_raise ArgumentError, fn -> Concord.stream(nothing: 1) end
      assert_raise ArgumentError, fn -> Concord.stream(with: :everything) end
      assert_raise ArgumentError, fn -> Concord.get("a", with: :key) end
    end

    test "of a store that closes ends with an error" do
      store = numbers(2_500)
      stream = Concord.stream(store: store)

      assert %Concord.Error{kind: kind} =
               catch_error(Enum.each(stream, fn {_, n} -> if n == 1, do: :ok = stop_supervised(store) end))

      assert kind in [:closed, :noproc]
    end
  end

  describe "patterns" do
    test "bring their flags, and what means something else elsewhere is refused" do
      store = fresh_store()
      for key <- ["user:1", "User:22", "Zoë", "line\nend", <<255>>], do: :ok = Concord.put(key, 1, store: store)
      keys = fn pattern -> Query.keys(pattern: pattern, store: store) end

      assert keys.(~r/^user/i) == {:ok, ["User:22", "user:1"]}
      assert keys.("^user") == {:ok, ["user:1"]}
      assert keys.(~r/^Zo.$/u) == {:ok, ["Zoë"]}
      assert keys.(~r/^Zo.$/) == {:ok, []}
      assert keys.(~r/^end/m) == {:ok, ["line\nend"]}
      assert keys.(~r/line.end/s) == {:ok, ["line\nend"]}
      assert keys.(~r/U s e r # comment/x) == {:ok, ["User:22"]}
      assert keys.(~r/user.*?/U) == {:ok, ["user:1"]}
      assert keys.(~r/\xff/) == {:ok, [<<255>>]}
      assert keys.(~r/(a+)+$/) == {:ok, []}

      for refused <- [
            ~r/a(?=b)/,
            ~r/(?<!a)b/,
            ~r/(a)\1/,
            ~r/a/f,
            "(",
            String.duplicate("a", 1_025),
            <<255>>,
            "\\w{1000}{1000}"
          ] do
        assert keys.(refused) == {:error, :invalid_condition}
      end
    end
  end

  describe "hostile input" do
    test "is a clear error in little time, and removes nothing" do
      store = shop()
      begun = System.monotonic_time(:millisecond)

      for wrong <- [
            [range: {"b", "a"}],
            [pattern: String.duplicate("a", 1_048_576)],
            [where: String.duplicate("a", 1_048_576)],
            [where: String.duplicate("(", 10_000) <> "1" <> String.duplicate(")", 10_000)],
            [where: String.duplicate("(", 4_000)],
            [where: ""],
            [where: <<255>>],
            [where: "value.price >"],
            [prefix: String.duplicate("a", 1_025)],
            [suffix: String.duplicate("a", 1_025)],
            [contains: String.duplicate("a", 1_025)],
            [prefix: "", limit: -1],
            [prefix: "", offset: -1],
            [prefix: "", limit: 2 ** 64]
          ] do
        for verb <- [&Query.keys/1, &Query.where/1, &Query.count/1, &Query.delete_where/1] do
          assert {:error, :invalid_condition} = verb.([{:store, store} | wrong])
        end
      end

      assert System.monotonic_time(:millisecond) - begun < 5_000
      assert {:ok, 6} = Query.count(store: store)
    end

    test "of the wrong type raises, and shows no token" do
      store = shop()

      for wrong <- [
            [prefix: :user],
            [suffix: 1],
            [contains: ["a"]],
            [range: {"a", 1}],
            [range: "ab"],
            [pattern: :user],
            [where: fn _ -> true end],
            [filter: "value > 1"],
            [filter: fn _, _ -> true end],
            [limit: 1.0],
            [offset: "1"],
            [nothing: 1]
          ] do
        for verb <- [&Query.keys/1, &Query.where/1, &Query.count/1, &Query.delete_where/1, &Concord.stream/1] do
          error = assert_raise ArgumentError, fn -> verb.([{:store, store}, {:token, "sk_concord_secret"} | wrong]) end
          refute error.message =~ "secret"
        end
      end

      assert_raise ArgumentError, fn -> Query.keys([:prefix]) end
      assert {:ok, 6} = Query.count(store: store)
    end
  end

  test "a token reaches what lies within its prefixes, and is judged first" do
    store = Verbs.guarded_store()
    all = Verbs.token(store, [:read, :write])
    reader = Verbs.token(store, [:read], key_prefixes: ["app:"])
    for key <- ["app:1", "app:2", "other"], do: :ok = Concord.put(key, 1, store: store, token: all)

    assert {:error, :unauthorized} = Query.keys(where: "value >", store: store)
    assert {:error, :forbidden} = Query.keys(suffix: "1", store: store, token: reader)
    assert {:ok, ["app:1"]} = Query.keys(prefix: "app:", suffix: "1", store: store, token: reader)
    assert {:ok, 2} = Query.count(range: {"app:1", "app:9"}, store: store, token: reader)
    assert [{"app:1", 1}, {"app:2", 1}] = Enum.to_list(Concord.stream(prefix: "app:", store: store, token: reader))
    assert {:error, :forbidden} = Query.delete_where(prefix: "app:", store: store, token: reader)
    nobody = fn _ -> flunk("asked") end
    assert {:error, :forbidden} = Query.delete_where(prefix: "app:", filter: nobody, store: store, token: reader)
    assert {:ok, 3} = Query.delete_where(prefix: "", where: "value == 1", store: store, token: all)
  end

  test "a client asks as a member does" do
    dir = fresh_dir()
    store = fresh_store(durability: :always, data_dir: dir)
    client = :"client_#{System.unique_integer([:positive])}"
    {:ok, _} = start_supervised({Concord.Client, name: client, data_dir: dir}, id: client)
    shop(store)

    assert {:ok, ["user:100"]} = Query.keys(pattern: ~r/user:\d{3}/, store: client)
    assert {:ok, [{"product:3", %{price: 199}}]} = Query.where(where: "value.price > 150", store: client)
    assert {:ok, 3} = Query.count(prefix: "user:", consistency: :strong, store: client)
    assert {:ok, 1} = Query.delete_where(prefix: "user:", filter: &match?({_, %{age: 40}}, &1), store: client)
    assert {:ok, 1} = Query.delete_where(where: "value.price < 100", store: client)
    assert ["product:2", "product:3"] = Enum.to_list(Concord.stream(prefix: "product:", with: :key, store: client))
    :ok = stop_supervised(store)
    assert {:error, kind} = Query.count(store: client, timeout: 300)
    assert kind in [:timeout, :cluster_not_ready]
    assert mailbox() == []
  end

  describe "expressions" do
    test "the golden cases that all languages run" do
      handle = Store.handle(Concord)
      assert handle
      store = fresh_store()
      cases = Golden.expressions()
      assert length(cases) > 150

      for %{"expression" => text} = example <- cases do
        case example do
          %{"column" => column} ->
            assert {:error, %{kind: :invalid_condition, column: ^column}} = Expression.check(text), text
            assert {:error, :invalid_condition} = Query.count(where: text, store: store), text

          %{"result" => result} ->
            assert Expression.check(text) == :ok
            key = Map.get(example, "key", "k")
            ttl_ms = if ttl = example["ttl"], do: trunc(ttl * 1000)
            holds = Native.expression_holds(text, key, encoded(example), Map.get(example, "revision", 1), ttl_ms)
            assert holds == {:ok, result}, inspect(example)
        end
      end
    end

    test "are tried out without a store" do
      assert {:ok, true} =
               Expression.holds("revision == 7 and ttl == 60 and key == \"a\"", "a", nil, revision: 7, ttl: 60)

      assert {:ok, true} = Expression.holds("value.role == \"admin\"", "a", %{role: :admin})
      assert {:ok, false} = Expression.holds("value", "a", 1)
      assert {:error, :invalid_condition} = Expression.holds(<<255>>, "a", 1)
      assert {:error, :invalid_value} = Expression.holds("true", "a", self())
      assert_raise ArgumentError, fn -> Expression.holds("true", "a", 1, nothing: 1) end
      assert {:error, %Concord.Error{column: nil} = error} = Expression.check(<<255>>)
      assert error.message =~ "UTF-8"
    end
  end

  defp encoded(%{"cbor" => hex}), do: Base.decode16!(hex, case: :lower)

  defp encoded(example) do
    {:ok, encoded} = example |> Map.get("value") |> Native.encode()
    encoded
  end

  test "Json reads what the golden cases hold" do
    assert Json.read!(~s|{"a": [1, 2.5], "b": null}|) == %{"a" => [1, 2.5], "b" => nil}
  end
end
