defmodule Concord.Expression do
  @moduledoc """
  Expressions pick records, and are conditions of writes: small texts that are true of a record or are not, the same on every
  member and in every language.

      Concord.Query.where(prefix: "product:", where: "value.price > 100 and \\"new\\" in value.tags")
      Concord.put_if("config", %{version: 2}, condition: "value.version < 2")

  They run in the store: no record is sent for them, and check and write are one step. A function (`filter:`, or `condition:` of
  one argument) can do more, and runs in the calling process instead.

  | | |
  |--|--|
  | the record | `value`, `key`, `revision`, `ttl` (seconds, or `null`) |
  | parts of a value | `value.name`, `value["any text"]`, `value.items[0]`; what is not there is *missing*, which is equal to nothing |
  | literals | as in JSON: `100`, `"text"`, `true`, `null`, `["a", "b"]` |
  | comparisons | `==`, `!=`, `<`, `<=`, `>`, `>=`, `in`, `not in` |
  | combinations | `and`, `or`, `not`, parentheses |
  | functions | `contains(a, b)`, `starts_with(a, b)`, `ends_with(a, b)`, `matches(a, "pattern", "flags")`, `exists(a)`, `size(a)`, `type(a)`, `date("2025-01-01T00:00:00Z")` |

  Atoms are texts: `:admin` is equal to `"admin"`, and `value.role` finds the entry of `:role` as well as that of `"role"`. Numbers are
  compared by what they are worth, `1 == 1.0`. Nothing but `true` is true. An expression has at most 4,096 bytes, 64 levels and
  8 patterns.
  """

  alias Concord.Native

  @doc """
  Whether this is an expression, for programs that want to tell early; every verb checks it by itself.

  The error has a message and the column of the fault, which counts characters from 1.

      iex> Concord.Expression.check("value.price > 100")
      :ok
      iex> {:error, fault} = Concord.Expression.check("value.price >")
      iex> {fault.kind, fault.column}
      {:invalid_condition, 14}
  """
  @spec check(String.t()) :: :ok | {:error, Concord.Error.t()}
  def check(expression) when is_binary(expression) do
    with {:error, {kind, message, column}} <- Native.check_expression(expression) do
      {:error, %Concord.Error{kind: kind, message: message, column: column}}
    end
  end

  @doc """
  Whether an expression is true of a record, as every member judges it: to try one out, or to filter what was read already.

  Options: `revision:` (1 by default) and `ttl:` seconds (none by default).

      iex> Concord.Expression.holds("value.price > 100 and ttl == null", "product:2", %{price: 150})
      {:ok, true}
      iex> Concord.Expression.holds("price > 100", "product:2", %{price: 150})
      {:error, :invalid_condition}
  """
  @spec holds(String.t(), Concord.key(), Concord.value(), keyword()) :: {:ok, boolean()} | {:error, Concord.error()}
  def holds(expression, key, value, options \\ []) when is_binary(expression) and is_binary(key) do
    options = Keyword.validate!(options, revision: 1, ttl: nil)

    with {:ok, encoded} <- Native.encode(value) do
      Native.expression_holds(expression, key, encoded, options[:revision], options[:ttl] && options[:ttl] * 1000)
    end
  end
end
