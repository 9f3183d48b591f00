# Tokens: who may do what with which verb, and what is said first.

defmodule Concord.TokenTest do
  # With `auth_enabled` nobody does anything without a token; whoever has one does what it allows, until it ends.
  use Concord.StoreCase, async: true

  import Concord.Verbs

  alias Concord.{Cluster, Config, Token}

  @moduletag capture_log: true

  doctest Concord.Token

  @never_made "sk_concord_" <> String.duplicate("0", 72)

  defp allowed?(need, who) do
    case who do
      :admin -> true
      :both -> need in [:read, :read_all, :status, :write, :both]
      :read -> need in [:read, :read_all, :status]
      :write -> need == :write
      :app -> need in [:read, :status, :write, :both]
      :other -> need == :status
    end
  end

  test "every verb does what its token allows, and nothing without one" do
    store = guarded_store()

    tokens = [
      admin: token(store, [:admin]),
      both: token(store, [:read, :write]),
      read: token(store, [:read]),
      write: token(store, [:write]),
      app: token(store, [:read, :write], key_prefixes: ["app:"]),
      other: token(store, [:read, :write], key_prefixes: ["other:", "app:11"])
    ]

    for {name, {need, verb}} <- verbs() do
      for {who, token} <- tokens do
        answer = verb.(store: store, token: token)
        assert answer == {:error, :forbidden} != allowed?(need, who), "#{name} with #{who}: #{inspect(answer)}"
        refute answer == {:error, :unauthorized}, "#{name} with #{who}"
      end

      for token <- ["", "secret", <<255>>, @never_made, tokens[:admin] <> "0"] do
        assert {name, verb.(store: store, token: token)} == {name, {:error, :unauthorized}}
      end

      # What administers tokens is this program's own without one.
      if need != :tokens do
        assert {name, verb.(store: store)} == {name, {:error, :unauthorized}}
        assert {name, verb.(store: store, token: nil)} == {name, {:error, :unauthorized}}
      end
    end

    assert mailbox() == []
  end

  test "whether a node serves, where, and its metrics need no token" do
    store = guarded_store()
    assert Cluster.ready?(store: store)
    assert :ok = Cluster.await_ready(1_000, store: store)
    assert {:ok, %{api: nil, metrics: nil}} = Concord.serving(store: store)
    assert {:ok, "# HELP" <> _} = Concord.metrics_text(store: store)
  end

  test "a token that has ended or was revoked is as good as none, at once and for those who use it all the time" do
    store = guarded_store()
    [short, revoked] = [token(store, [:admin], ttl: 1), token(store, [:admin])]
    for token <- [short, revoked], do: assert(:ok = Concord.put("app:1", 1, store: store, token: token))

    users = for _ <- 1..4, do: Task.async(fn -> use_until_refused(store, revoked, 0) end)
    assert :ok = Token.revoke(revoked, store: store)
    refused(store, revoked)
    assert Enum.all?(Task.await_many(users), &is_integer/1)

    assert is_integer(use_until_refused(store, short, 0))
    refused(store, short)
  end

  defp refused(store, token) do
    for {name, {_, verb}} <- verbs() do
      assert {name, verb.(store: store, token: token)} == {name, {:error, :unauthorized}}
    end
  end

  # How many calls went well before one was refused for its token.
  defp use_until_refused(store, token, calls) do
    answers = [Concord.get("app:1", store: store, token: token), Concord.put("app:1", 1, store: store, token: token)]

    case Enum.uniq(answers -- [{:ok, 1}, :ok]) do
      [] -> use_until_refused(store, token, calls + 1)
      [{:error, :unauthorized}] -> calls
    end
  end

  test "token, key, lifetime and condition, value: what is wrong first is said first" do
    store = guarded_store()
    [both, admin] = [token(store, [:read, :write]), token(store, [:admin])]
    prefixed = token(store, [:read, :write], key_prefixes: ["other:"])
    [read, write] = [token(store, [:read]), token(store, [:write])]

    for {{kind, verb}, number} <- Enum.with_index(mistakes()) do
      assert {number, verb.(store: store)} == {number, {:error, :unauthorized}}
      assert {number, verb.(store: store, token: @never_made)} == {number, {:error, :unauthorized}}
      for token <- [both, admin], do: assert({number, verb.(store: store, token: token)} == {number, {:error, kind}})
      # Some of these have no key that could be out of reach.
      assert {:error, found} = verb.(store: store, token: prefixed)
      assert found in [:forbidden, kind]
      # A scope that is missing is said before what is wrong; one of the two lacks it.
      assert {:error, :forbidden} in for(token <- [read, write], do: verb.(store: store, token: token)), "#{number}"
    end

    # And nothing was done.
    assert Concord.get_all(store: store, token: admin) == {:ok, %{}}
    assert mailbox() == []
  end

  test "a predicate is not asked for somebody who may not write" do
    store = guarded_store()
    :ok = Concord.put("app:1", 1, store: store, token: token(store, [:write]))

    for scope <- [:read, :write] do
      options = [store: store, token: token(store, [scope]), condition: fn _ -> flunk("asked") end]
      assert {:error, :forbidden} = Concord.put_if("app:1", 2, options)
      assert {:error, :forbidden} = Concord.delete_if("app:1", options)
    end
  end

  test "tokens are administered by the program that has the store, and by tokens with that scope" do
    store = guarded_store()
    admin = token(store, [:admin])
    new = [name: "web", scopes: [:write, :read], key_prefixes: ["a:", <<0, 255>>], ttl: 60]
    assert {:ok, made} = Token.create(new ++ [store: store, token: admin])
    assert %Token{name: "web", scopes: [:read, :write], key_prefixes: ["a:", <<0, 255>>], last_used_at: nil} = made
    assert DateTime.diff(made.expires_at, made.created_at) == 60
    assert made.id =~ ~r/\A[0-9a-f]{16}\z/
    assert "sk_concord_" <> _ = made.token

    for own <- [[], [token: admin]] do
      assert {:ok, tokens} = Token.list([store: store] ++ own)
      assert [%{scopes: [:admin], token: nil, last_used_at: %DateTime{}}] = tokens -- [%{made | token: nil}]
    end

    for scopes <- [[:read, :write], [:read]], token = token(store, scopes) do
      assert {:error, :forbidden} = Token.create(store: store, token: token)
      assert {:error, :forbidden} = Token.list(store: store, token: token)
      assert {:error, :forbidden} = Token.revoke(made, store: store, token: token)
    end

    assert :ok = Token.revoke(made.token, store: store, token: admin)

    for name <- [made, made.id, made.token, "", <<255>>],
        do: assert({:error, :not_found} = Token.revoke(name, store: store))
  end

  test "what cannot be a token is refused" do
    assert {:error, :invalid_ttl} = Token.create(ttl: 0)
    assert {:error, :invalid_ttl} = Token.create(ttl: 1.5)
    assert {:error, :invalid_config} = Token.create(scopes: [])
    assert {:error, :invalid_config} = Token.create(name: String.duplicate("n", 65))
    assert {:error, :invalid_config} = Token.create(scopes: [:admin], key_prefixes: ["a"])
    assert {:error, :noproc} = Token.list(store: :nobody)

    for wrong <- [[scopes: [:all]], [scopes: :read], [name: :web], [key_prefixes: "a"], [scope: [:read]]] do
      assert_raise ArgumentError, fn -> Token.create(wrong) end
    end

    assert_raise FunctionClauseError, fn -> Token.revoke(nil) end
  end

  test "where no token is needed, unknown ones change nothing, and known ones are held to their scopes" do
    # The same program runs in development, without tokens, and in production.
    store = fresh_store()
    for token <- [nil, "", "stale", @never_made], do: assert(:ok = Concord.put("app:1", 1, store: store, token: token))
    read = token(store, [:read])
    assert {:ok, 1} = Concord.get("app:1", store: store, token: read)
    assert {:error, :forbidden} = Concord.put("app:1", 2, store: store, token: read)
    assert :ok = Concord.put("app:1", 2, store: store)
  end

  test "tokens, and that some were revoked, survive restarts" do
    settings = [name: :kept_tokens, auth_enabled: true, durability: :always, data_dir: fresh_dir()]
    start_supervised!({Concord, settings}, id: :kept_tokens)
    [kept, gone] = for name <- ["kept", "gone"], do: token(:kept_tokens, [:read, :write], name: name)
    for token <- [kept, gone], do: assert(:ok = Concord.put("a", 1, store: :kept_tokens, token: token))
    :ok = Token.revoke(gone, store: :kept_tokens)

    for _ <- 1..2 do
      :ok = stop_supervised(:kept_tokens)
      assert {:error, :noproc} = Concord.get("a", store: :kept_tokens, token: kept)
      start_supervised!({Concord, settings}, id: :kept_tokens)
      assert {:ok, 1} = Concord.get("a", store: :kept_tokens, token: kept)
      assert {:error, :unauthorized} = Concord.get("a", store: :kept_tokens, token: gone)
      assert {:ok, [%{name: "kept"}]} = Token.list(store: :kept_tokens)
    end
  end

  test "more tokens than a store keeps handles of, from several processes at once" do
    store = guarded_store()
    tokens = for _ <- 1..1_100, do: token(store, [:write])
    put_all = fn -> for token <- Enum.shuffle(tokens), do: Concord.put("app:1", 1, store: store, token: token) end
    tasks = for _ <- 1..4, do: Task.async(put_all)
    for answers <- Task.await_many(tasks, 60_000), do: assert(Enum.uniq(answers) == [:ok])

    :ok = Token.revoke(hd(tokens), store: store)
    assert {:error, :unauthorized} = Concord.put("app:1", 1, store: store, token: hd(tokens))
    assert :ok = Concord.put("app:1", 1, store: store, token: List.last(tokens))
  end

  test "is turned on by configuration" do
    assert Config.read(auth_enabled: true).auth_enabled
    refute Config.read([]).auth_enabled
    assert_raise ArgumentError, ~r/auth_enabled/, fn -> Config.read(auth_enabled: :sometimes) end
  end
end
