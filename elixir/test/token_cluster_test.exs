# Tokens where several are concerned: members of a cluster, clients, and programs of one machine.

defmodule Concord.TokenClusterTest do
  # A token is known and judged on every member alike; a client has the rights that its token has.
  use Concord.StoreCase, async: false

  import Concord.Verbs

  alias Concord.{Client, Cluster, Token}

  @moduletag capture_log: true
  @cookie "the secret of the cluster of these tests"

  defp member(name, cluster) do
    cluster = [listen: "127.0.0.1:0", name: name] ++ cluster
    store = guarded_store(durability: :always, data_dir: fresh_dir(), cluster: cluster, cluster_cookie: @cookie)
    assert :ok = Cluster.await_ready(20_000, store: store)
    store
  end

  defp alone, do: member("alone", bootstrap_expect: 1)

  defp addresses(store, admin) do
    {:ok, members} = Concord.members(store: store, token: admin)
    for member <- members, do: member.address
  end

  defp voters(store, admin) do
    {:ok, members} = Concord.members(store: store, token: admin)
    Enum.sort(for %{role: :voter, name: name} <- members, do: name)
  end

  defp client(options) do
    name = :"client_#{System.unique_integer([:positive])}"
    start_supervised!({Client, [name: name] ++ options}, id: name)
    name
  end

  defp refusal(options) do
    Process.flag(:trap_exit, true)
    {:error, {%Concord.Error{kind: kind}, _}} = Client.start_link(options)
    kind
  end

  test "every member knows a token, and that it was revoked" do
    first = member("n1", bootstrap_expect: 1)
    admin = token(first, [:admin])
    seeds = addresses(first, admin)
    stores = [first | for(name <- ["n2", "n3"], do: member(name, seeds: seeds))]
    token = token(List.last(stores), [:read, :write], key_prefixes: ["app:"])

    for {store, i} <- Enum.with_index(stores), options = [store: store, token: token], key = "app:#{i}" do
      assert :ok = Concord.put(key, i, options)
      assert {:ok, ^i} = Concord.get(key, options)
      assert {:ok, ^i} = Concord.get(key, [consistency: :strong] ++ options)
      assert {:ok, %{^key => {:ok, ^i}}} = Concord.get_many([key], options)
      assert {:ok, %{}} = Concord.get_many([], options)
      assert :ok = Concord.put_if(key, i, [condition: &(&1 == i)] ++ options)
      assert {:error, :forbidden} = Concord.get("other", options)
      assert {:error, :forbidden} = Concord.get_many(["other"], options)
      assert {:error, :forbidden} = Concord.get_all(options)
      assert {:error, :forbidden} = Concord.put("other", 1, options)
      assert {:error, :forbidden} = Cluster.transfer_leadership("n1", options)
      assert {:error, :unauthorized} = Concord.get(key, store: store)
      assert {:error, :unauthorized} = Concord.put(key, 1, store: store)
      assert {:error, :unauthorized} = Concord.get_many([key], store: store)
      assert {:error, :unauthorized} = Cluster.transfer_leadership("n1", store: store)
      assert {:ok, [_, _, _]} = Concord.members(store: store, token: admin)
    end

    # A joiner votes, and can lead, when it has caught up.
    assert eventually(fn -> voters(first, admin) == ["n1", "n2", "n3"] end)
    assert :ok = Cluster.transfer_leadership("n2", store: List.last(stores), token: admin)
    assert :ok = Token.revoke(token, store: first)

    for store <- stores, options = [store: store, token: token] do
      assert {:error, :unauthorized} = Concord.put("app:1", 1, options)
      assert {:error, :unauthorized} = Concord.get("app:1", options)
      assert {:error, :unauthorized} = Concord.get("app:1", [consistency: :strong] ++ options)
    end

    assert mailbox() == []
  end

  test "a client has the rights of its token, and of no other" do
    store = alone()
    admin = token(store, [:admin])
    addresses = addresses(store, admin)
    read = token(store, [:read])
    :ok = Concord.put("a", 1, store: store, token: admin)

    for given <- [read, fn -> read end] do
      client = client(addresses: addresses, token: given)
      assert {:ok, 1} = Concord.get("a", store: client)
      assert {:error, :forbidden} = Concord.put("a", 2, store: client)
      assert {:error, :forbidden} = Token.list(store: client)
      # Over a connection of its own.
      assert :ok = Concord.put("a", 1, store: client, token: admin)
      assert {:ok, [_ | _]} = Token.list(store: client, token: admin)
      assert {:error, :forbidden} = Concord.put("a", 2, store: client, token: read)
      assert {:error, :unauthorized} = Concord.get("a", store: client, token: "sk_concord_wrong")
    end

    trusted = client(addresses: addresses, cookie: @cookie)
    assert :ok = Concord.put("a", 3, store: trusted)
    assert {:error, :forbidden} = Concord.put("a", 4, store: trusted, token: read)

    assert :ok = Token.revoke(read, store: trusted)
    assert {:error, :unauthorized} = Concord.get("a", store: trusted, token: read)
    assert refusal(addresses: addresses, token: read) == :unauthorized
    assert refusal(addresses: addresses, token: read, cookie: @cookie) == :invalid_config
  end

  test "a client takes its token from the environment, before the cookie there" do
    store = alone()
    addresses = addresses(store, token(store, [:admin]))
    System.put_env("CONCORD_TOKEN", token(store, [:read]))
    System.put_env("CONCORD_COOKIE", @cookie)
    on_exit(fn -> for name <- ["CONCORD_TOKEN", "CONCORD_COOKIE"], do: System.delete_env(name) end)

    assert {:error, :forbidden} = Concord.put("a", 1, store: client(addresses: addresses))
    assert :ok = Concord.put("a", 1, store: client(addresses: addresses, cookie: @cookie))
  end

  test "a program of the same user reaches the store by its directory, with every right" do
    dir = fresh_dir()
    assert refusal(data_dir: dir) == :noproc
    store = guarded_store(durability: :always, data_dir: dir)
    client = client(data_dir: dir)
    assert :ok = Concord.put("a", 1, store: client)
    {:ok, made} = Token.create(scopes: [:read], store: client)
    assert {:ok, 1} = Concord.get("a", store: store, token: made.token)
    assert {:ok, %{cluster: %{state: :leader}}} = Concord.status(store: client)
    assert Cluster.ready?(store: client)

    assert refusal(data_dir: dir, token: made.token) == :invalid_config
    assert {:error, {%ArgumentError{}, _}} = Client.start_link(data_dir: dir, addresses: "127.0.0.1:1")

    for settings <- [[local_socket: false], [local_socket: true]] do
      :ok = stop_supervised(store)

      start_supervised!({Concord, [name: store, auth_enabled: true, durability: :always, data_dir: dir] ++ settings},
        id: store
      )

      if settings[:local_socket], do: client(data_dir: dir), else: assert(refusal(data_dir: dir) == :noproc)
    end
  end
end
