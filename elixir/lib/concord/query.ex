defmodule Concord.Query do
  @moduledoc """
  Finds, counts and removes all records that fit.

      {:ok, keys} = Concord.Query.keys(prefix: "user:")
      {:ok, pairs} = Concord.Query.where(prefix: "product:", where: "value.price > 100")
      {:ok, count} = Concord.Query.delete_where(prefix: "temp:")

  Each reads one point in time; writes go on meanwhile and are not seen. There are no hidden limits: what fits is given. For
  much of it use `Concord.stream/1`.

  ## What fits

  All that is said must hold; nothing said is every record.

    * `prefix:`, `suffix:`, `contains:` - keys that begin or end with this, or hold it somewhere
    * `range: {from, to}` - keys from the first to the second, both included, in the order of their bytes
    * `pattern:` - keys in which this matches somewhere: `~r/^user:\\d{3}$/`, or its text
    * `where:` - records of which this expression is true: `"value.price > 100 and value.role == \\"admin\\""`. It runs in the
      store and means the same in every language, see `Concord.Expression`
    * `filter:` - a function of `{key, value}` that answers true. It runs in the calling process, on everything else that
      fits; what it raises is raised here and harms nothing
    * `offset:`, `limit:` - how many of those, in the order of their keys, are left out first, and how many are given at most

  Prefix, range and the beginning of an anchored pattern narrow the walk: it costs what lies within them, not what the store
  holds. `where:` also looks at the values within, and `filter:` brings them here, which costs much more.

  A pattern takes linear time, whatever it says. So it has no look-around and no back-references, and `$` is the very end; what
  other engines read differently is refused with `:invalid_condition`, never silently different. Of the flags of a regex `i`, `m`,
  `s`, `x`, `u` and `U` are taken. Without `u` it is about the bytes of the key.

  ## Options and errors

  Further options are `timeout:`, `token:`, `store:` and `consistency:`, as in `Concord`. A token that reaches only some keys needs
  a prefix or range within one of its own, else `:forbidden`: nothing is left out silently.

  `:invalid_condition` tells of a range that ends before it begins, a pattern or an expression that cannot be understood
  (`Concord.Expression.check/1` tells where the fault is), a part longer than a key can be, or a negative `offset:` or `limit:`.
  Options of wrong types raise `ArgumentError`. Other errors are those of all verbs; of a `Concord.Client` `:cluster_not_ready`
  as well, when the member that keeps the point in time is gone: begin again.
  """

  alias Concord.{Options, Selection, Walk, Write}

  @type error :: Concord.error()

  @doc """
  The keys, in the order of their bytes.

      iex> Concord.put_many([{"user:1", 1}, {"user:2", 2}, {"user:100", 3}])
      iex> Concord.Query.keys(prefix: "user:")
      {:ok, ["user:1", "user:100", "user:2"]}
      iex> Concord.Query.keys(pattern: ~r/^user:\\d{3}/)
      {:ok, ["user:100"]}
      iex> Concord.Query.keys(range: {"user:100", "user:2"}, limit: 1)
      {:ok, ["user:100"]}
      iex> Concord.Query.keys(range: {"user:2", "user:100"}, offset: 1)
      {:error, :invalid_condition}
  """
  @spec keys(keyword()) :: {:ok, [Concord.key()]} | {:error, error()}
  def keys(options \\ []), do: collect(options, :keys, "Query.keys", fn {key, _value} -> key end)

  @doc """
  The records, as `{key, value}` in the order of their keys.

      iex> Concord.put_many([{"product:1", %{price: 50}}, {"product:2", %{price: 150}}])
      iex> Concord.Query.where(prefix: "product:", where: "value.price > 100")
      {:ok, [{"product:2", %{price: 150}}]}
      iex> Concord.Query.where(prefix: "product:", filter: fn {_key, value} -> value.price < 100 end)
      {:ok, [{"product:1", %{price: 50}}]}
  """
  @spec where(keyword()) :: {:ok, [{Concord.key(), Concord.value()}]} | {:error, error()}
  def where(options \\ []), do: collect(options, :pairs, "Query.where", & &1)

  @doc """
  How many there are. With `offset:` and `limit:` it is how many `keys/1` would give.

      iex> Concord.put_many([{"temp:1", 1}, {"temp:2", 2}])
      iex> Concord.Query.count(prefix: "temp:")
      {:ok, 2}
      iex> Concord.Query.count(prefix: "temp:", where: "value > 1")
      {:ok, 1}
  """
  @spec count(keyword()) :: {:ok, non_neg_integer()} | {:error, error()}
  def count(options \\ []) do
    selection = Selection.of(options, [], "Query.count")

    if selection.filter do
      Walk.reduce(selection, :pairs, 0, fn _pair, count -> count + 1 end)
    else
      Walk.count(selection)
    end
  end

  @doc """
  Removes what fits, and answers how many records these were.

  It is one change: all or none, and nobody sees a part of it. Other writes wait meanwhile, on every member. What is meant must
  be said: `prefix: ""` removes everything, no option at all is `:invalid_condition`.

  With `filter:` it is not one change. The function runs here, over a point in time, and each record that it accepts is then
  removed only if it has not changed since; one that has is left alone and not counted. When an error comes in between, some
  records may be gone already.

      iex> Concord.put_many([{"old:1", 1}, {"old:2", 2}, {"old:3", 3}])
      iex> Concord.Query.delete_where(prefix: "old:", where: "value == 3")
      {:ok, 1}
      iex> Concord.Query.delete_where(prefix: "old:", filter: fn {_key, value} -> value > 1 end)
      {:ok, 1}
      iex> Concord.Query.delete_where(range: {"old:1", "old:9"})
      {:ok, 1}
      iex> Concord.Query.delete_where()
      {:error, :invalid_condition}
  """
  @spec delete_where(keyword()) :: {:ok, non_neg_integer()} | {:error, error()}
  def delete_where(options \\ []) do
    selection = Selection.of(options, [], "Query.delete_where")

    if selection.filter do
      delete_filtered(selection)
    else
      with {:ok, handle} <- Options.handle(options) do
        Write.run(handle, {:delete_where, selection.native}, Options.timeout(options))
      end
    end
  end

  defp collect(options, shape, verb, entry) do
    selection = Selection.of(options, [], verb)
    # Without a filter no value is read for the sake of keys.
    {shape, entry} = if selection.filter, do: {:pairs, entry}, else: {shape, & &1}

    with {:ok, entries} <- Walk.reduce(selection, shape, [], fn item, entries -> [entry.(item) | entries] end) do
      {:ok, Enum.reverse(entries)}
    end
  end

  # The deletions of a page are on their way together.
  defp delete_filtered(selection) do
    with {:ok, handle} <- Options.handle(selection.options) do
      timeout = Options.timeout(selection.options)

      # Refused for want of a condition, if for nothing else: then the filter may be asked.
      with {:error, :missing_condition} <-
             Write.run(handle, {:delete_where, {:refused, :missing_condition}}, timeout) do
        Walk.reduce_pages(selection, :records, 0, fn records, count ->
          operations = for {key, _value, _ttl, revision} <- records, do: {:delete, key, {:revision, revision}}
          handle |> Write.run_all(operations, timeout) |> Enum.reduce_while({:cont, count}, &deleted/2)
        end)
      end
    end
  end

  defp deleted(:ok, {:cont, count}), do: {:cont, {:cont, count + 1}}
  defp deleted({:error, kind}, continued) when kind in [:condition_failed, :not_found], do: {:cont, continued}
  defp deleted({:error, kind}, _continued), do: {:halt, {:halt, {:error, kind}}}
end
