defmodule Concord.Options do
  @moduledoc false
  # Options of the verbs. An unknown option, or a value that no option can have, is the programmer's mistake and raises;
  # a lifetime may come from users' data and is checked where the write is checked.

  # About 49 days, for `timeout: :infinity`.
  @timeout_ms_max 4_294_967_295

  alias Concord.{Native, Store}

  @doc """
  The handle through which a call goes: that of the store, or that of the token's holder.
  """
  @compile {:inline, handle: 1}
  def handle([]), do: handle_of(Concord, nil)
  def handle(options), do: handle_of(Keyword.get(options, :store, Concord), Keyword.get(options, :token))

  defp handle_of(store, token) do
    case Store.handle(store) do
      nil -> {:error, :noproc}
      handle when token == nil -> {:ok, handle}
      handle -> Native.as_token(handle, token)
    end
  end

  @compile {:inline, level: 1, timeout: 1}
  def level(options), do: Keyword.get(options, :consistency)

  def timeout(options) do
    case Keyword.get(options, :timeout, 5_000) do
      :infinity -> @timeout_ms_max
      timeout -> timeout
    end
  end

  def compress(options) do
    case Keyword.get(options, :compress) do
      nil -> :auto
      true -> :always
      false -> :never
    end
  end

  @doc """
  Checks that these are options of `verb`, which takes `allowed` besides those that all verbs take.
  """
  def check([], _allowed, _verb), do: :ok

  def check([{key, value} | rest], allowed, verb) do
    if valid?(key, value, allowed), do: check(rest, allowed, verb), else: refuse(key, value, allowed, verb)
  end

  # What was given is not shown: a token may be in it.
  def check(_other, _allowed, verb), do: raise(ArgumentError, "Concord.#{verb}: options are a keyword list")

  @doc """
  Raises as a function without a clause for its arguments does, but never shows them: a token may be among them.
  """
  @spec no_clause(module(), atom(), arity()) :: no_return()
  def no_clause(module, function, arity) do
    raise FunctionClauseError, module: module, function: function, arity: arity
  end

  defp valid?(:timeout, timeout, _), do: timeout == :infinity or (is_integer(timeout) and timeout in 0..@timeout_ms_max)
  defp valid?(:token, token, _), do: is_binary(token) or is_nil(token)
  defp valid?(:store, store, _), do: is_atom(store)
  defp valid?(:consistency, level, allowed), do: :consistency in allowed and level in [:eventual, :leader, :strong]
  defp valid?(:compress, compress, allowed), do: :compress in allowed and compress in [true, false, nil]
  # Walks give keys alone as well.
  defp valid?(:with, :key, allowed), do: :with in allowed and :filter in allowed
  defp valid?(:with, shape, allowed), do: :with in allowed and shape == :record
  defp valid?(:initial, initial, allowed), do: :initial in allowed and is_integer(initial)
  defp valid?(key, _value, allowed), do: key in allowed

  defp refuse(key, value, allowed, verb) do
    known = [:timeout, :token, :store | allowed]
    # The value of an option that nobody knows may be a token, and that of `token:` is about to be one.
    given = if key in known and key != :token, do: inspect([{key, value}]), else: inspect(key)

    raise ArgumentError,
          "Concord.#{verb}: #{given} is no option here; there are #{Enum.map_join(known, ", ", &inspect/1)}"
  end
end
