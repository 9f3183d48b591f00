defmodule Concord.Verbs do
  @moduledoc """
  Every verb with what it needs of a token, and every mistake with the error that tells of it.
  """

  import ExUnit.Assertions, only: [flunk: 1]

  alias Concord.{Cluster, StoreCase, Token}

  @doc "A store of its own that wants tokens."
  def guarded_store(settings \\ [durability: :memory]), do: StoreCase.fresh_store([auth_enabled: true] ++ settings)

  @doc "The text of a new token."
  def token(store, scopes, more \\ []) do
    {:ok, made} = Token.create([scopes: scopes, store: store] ++ more)
    made.token
  end

  @doc """
  Every verb by name: what it needs, and a call of it on keys that begin with `app:`. A call may fail for other reasons than
  its token.
  """
  def verbs, do: reads() ++ writes() ++ administration()

  defp reads do
    [
      get: {:read, &Concord.get("app:1", &1)},
      get_record: {:read, &Concord.get("app:1", [with: :record] ++ &1)},
      get_strong: {:read, &Concord.get("app:1", [consistency: :strong] ++ &1)},
      get_eventual: {:read, &Concord.get("app:1", [consistency: :eventual] ++ &1)},
      ttl: {:read, &Concord.ttl("app:1", &1)},
      get_with_ttl: {:read, &Concord.get_with_ttl("app:1", &1)},
      get_many: {:read, &Concord.get_many(["app:1", "app:2"], &1)},
      keys: {:read, &Concord.Query.keys([prefix: "app:"] ++ &1)},
      where: {:read, &Concord.Query.where([range: {"app:1", "app:2"}, where: "value == 1"] ++ &1)},
      where_filter: {:read, &Concord.Query.where([pattern: ~r/^app:/, filter: fn _ -> true end] ++ &1)},
      count: {:read, &Concord.Query.count([prefix: "app:"] ++ &1)},
      keys_of_all: {:read_all, &Concord.Query.keys/1},
      count_of_all: {:read_all, &Concord.Query.count/1},
      get_all: {:read_all, &Concord.get_all/1},
      get_all_with_ttl: {:read_all, &Concord.get_all_with_ttl/1},
      get_many_of_none: {:status, &Concord.get_many([], &1)},
      status: {:status, &Concord.status/1},
      members: {:status, &Concord.members/1},
      cluster_status: {:status, &Cluster.status/1},
      cluster_members: {:status, &Cluster.members/1}
    ]
  end

  defp writes do
    [
      put: {:write, &Concord.put("app:1", 1, &1)},
      put_large: {:write, &Concord.put("app:1", String.duplicate("x", 100_000), &1)},
      put_new: {:write, &Concord.put_new("app:1", 1, &1)},
      put_with_ttl: {:write, &Concord.put_with_ttl("app:1", 1, 60, &1)},
      put_absent: {:write, &Concord.put_if("app:1", 1, [expected: :absent] ++ &1)},
      put_revision: {:write, &Concord.put_if("app:1", 1, [revision: 1] ++ &1)},
      delete_revision: {:write, &Concord.delete_if("app:1", [revision: 1] ++ &1)},
      delete: {:write, &Concord.delete("app:1", &1)},
      increment: {:write, &Concord.increment("app:3", 1, &1)},
      touch: {:write, &Concord.touch("app:1", 60, &1)},
      put_many: {:write, &Concord.put_many([{"app:1", 1}, {"app:2", 2, 60}], &1)},
      put_many_with_ttl: {:write, &Concord.put_many_with_ttl([{"app:1", 1}], 60, &1)},
      delete_many: {:write, &Concord.delete_many(["app:1"], &1)},
      touch_many: {:write, &Concord.touch_many([{"app:1", 60}], &1)},
      delete_where: {:write, &Concord.Query.delete_where([prefix: "app:7"] ++ &1)},
      put_again: {:write, &Concord.put("app:1", 1, &1)},
      put_expected: {:both, &Concord.put_if("app:1", 1, [expected: 1] ++ &1)},
      put_condition: {:both, &Concord.put_if("app:1", 1, [condition: fn _ -> true end] ++ &1)},
      put_expression: {:both, &Concord.put_if("app:1", 1, [condition: "true"] ++ &1)},
      delete_expression: {:both, &Concord.delete_if("app:1", [condition: "value == 7"] ++ &1)},
      delete_by_value: {:both, &Concord.Query.delete_where([prefix: "app:", where: "value == 7"] ++ &1)},
      delete_filter: {:both, &Concord.Query.delete_where([prefix: "app:", filter: fn _ -> false end] ++ &1)},
      delete_expected: {:both, &Concord.delete_if("app:1", [expected: 1] ++ &1)},
      delete_condition: {:both, &Concord.delete_if("app:1", [condition: fn _ -> true end] ++ &1)}
    ]
  end

  defp administration do
    [
      transfer_leadership: {:admin, &Cluster.transfer_leadership(nil, &1)},
      remove: {:admin, &Cluster.remove(1, &1)},
      promote: {:admin, &Cluster.promote(1, &1)},
      replace: {:admin, &Cluster.replace(1, 2, &1)},
      add: {:admin, &Cluster.add("127.0.0.1:1", [timeout: 1] ++ &1)},
      list_tokens: {:tokens, &Token.list/1},
      revoke_token: {:tokens, &Token.revoke("0000000000000000", &1)}
    ]
  end

  @doc """
  Calls that are wrong in a way that is found before anything is done; some in two ways, of which the first is told.
  """
  def mistakes, do: mistakes_of_reads() ++ mistakes_of_writes() ++ mistakes_of_conditions()

  defp mistakes_of_reads do
    [
      {:invalid_key, &Concord.get("", &1)},
      {:invalid_key, &Concord.get(:atom, &1)},
      {:invalid_key, &Concord.get("", [consistency: :strong] ++ &1)},
      {:invalid_key, &Concord.ttl(String.duplicate("k", 1025), &1)},
      {:invalid_key, &Concord.get_many(["app:1", ""], &1)},
      {:invalid_key, &Concord.get_many([:atom], &1)},
      {:invalid_condition, &Concord.Query.keys([prefix: "app:", where: "value >"] ++ &1)},
      {:invalid_condition, &Concord.Query.count([range: {"app:2", "app:1"}] ++ &1)},
      {:invalid_condition, &Concord.Query.where([prefix: "app:", pattern: ~r/a(?=b)/] ++ &1)},
      {:invalid_condition, &Concord.Query.count([offset: -1] ++ &1)},
      {:batch_too_large, &Concord.get_many(List.duplicate("app:1", 501), &1)}
    ]
  end

  defp mistakes_of_writes do
    pid = self()

    [
      {:invalid_key, &Concord.put("", 1, [ttl: 0] ++ &1)},
      {:invalid_key, &Concord.put(nil, pid, &1)},
      {:invalid_ttl, &Concord.put("app:1", pid, [ttl: 0] ++ &1)},
      {:invalid_ttl, &Concord.put("app:1", 1, [ttl: "60"] ++ &1)},
      {:invalid_value, &Concord.put("app:1", pid, &1)},
      {:invalid_key, &Concord.delete("", &1)},
      {:invalid_key, &Concord.touch("", 0, &1)},
      {:invalid_ttl, &Concord.touch("app:1", -1, &1)},
      {:invalid_key, &Concord.increment("", 1, [ttl: 0] ++ &1)},
      {:invalid_ttl, &Concord.increment("app:1", 2 ** 100, [ttl: 0] ++ &1)},
      {:value_too_large, &Concord.increment("app:1", 2 ** 100, &1)},
      {:batch_too_large, &Concord.put_many(List.duplicate({"app:1", 1}, 501), &1)},
      {:invalid_operation_format, &Concord.put_many([{"", 1}, :no_tuple], &1)},
      {:invalid_key, &Concord.put_many([{"app:1", pid}, {"", 1, 0}], &1)},
      {:invalid_ttl, &Concord.put_many([{"app:1", pid}, {"app:2", 1, 0}], &1)},
      {:invalid_value, &Concord.put_many([{"app:1", pid}], &1)},
      {:invalid_key, &Concord.delete_many(["app:1", :atom], &1)},
      {:batch_too_large, &Concord.delete_many(List.duplicate("app:1", 501), &1)},
      {:invalid_touch_operation, &Concord.touch_many([{"app:1", 0}], &1)},
      {:invalid_touch_operation, &Concord.touch_many([:no_tuple], &1)},
      {:invalid_key, &Concord.touch_many([{"", 0}], &1)}
    ]
  end

  defp mistakes_of_conditions do
    [
      {:missing_condition, &Concord.put_if("app:1", 1, &1)},
      {:invalid_key, &Concord.put_if("", 1, &1)},
      {:invalid_ttl, &Concord.put_if("app:1", 1, [ttl: 0] ++ &1)},
      {:invalid_ttl, &Concord.put_if("app:1", 1, [ttl: 0, condition: fn _ -> flunk("asked") end] ++ &1)},
      {:conflicting_conditions, &Concord.put_if("app:1", 1, [revision: 1, expected: 1] ++ &1)},
      {:invalid_condition, &Concord.put_if("app:1", 1, [condition: 5] ++ &1)},
      {:invalid_condition, &Concord.put_if("app:1", 1, [revision: -1] ++ &1)},
      {:invalid_condition, &Concord.put_if("app:1", 1, [condition: "value >"] ++ &1)},
      {:invalid_condition, &Concord.delete_if("app:1", [condition: <<255>>] ++ &1)},
      {:invalid_condition, &Concord.delete_if("app:1", [condition: String.duplicate("(", 10_000)] ++ &1)},
      {:invalid_condition, &Concord.Query.delete_where([prefix: "app:", where: "value >"] ++ &1)},
      {:invalid_condition, &Concord.Query.delete_where([limit: -1] ++ &1)},
      {:invalid_condition, &Concord.Query.delete_where/1},
      {:invalid_value, &Concord.put_if("app:1", 1, [expected: self()] ++ &1)},
      {:missing_condition, &Concord.delete_if("app:1", &1)},
      {:invalid_condition, &Concord.delete_if("app:1", [expected: :absent] ++ &1)},
      {:invalid_key, &Concord.delete_if("", [expected: :absent] ++ &1)},
      {:invalid_value, &Concord.delete_if("app:1", [expected: self()] ++ &1)}
    ]
  end
end
