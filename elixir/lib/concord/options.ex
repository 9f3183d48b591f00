defmodule Concord.Options do
  @moduledoc false
  # Options of the verbs. An unknown option, or a value that no option can have, is the programmer's mistake and raises;
  # a lifetime may come from users' data and is checked where the write is checked.

  # About 49 days, for `timeout: :infinity`.
  @timeout_ms_max 4_294_967_295

  @compile {:inline, store: 1, level: 1, timeout: 1}
  def store(options), do: Keyword.get(options, :store, Concord)
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

  def check(other, _allowed, verb) do
    raise ArgumentError, "Concord.#{verb}: options are a keyword list, got: #{inspect(other)}"
  end

  defp valid?(:timeout, timeout, _), do: timeout == :infinity or (is_integer(timeout) and timeout in 0..@timeout_ms_max)
  defp valid?(:token, token, _), do: is_binary(token) or is_nil(token)
  defp valid?(:store, store, _), do: is_atom(store)
  defp valid?(:consistency, level, allowed), do: :consistency in allowed and level in [:eventual, :leader, :strong]
  defp valid?(:compress, compress, allowed), do: :compress in allowed and compress in [true, false, nil]
  defp valid?(:with, shape, allowed), do: :with in allowed and shape == :record
  defp valid?(:initial, initial, allowed), do: :initial in allowed and is_integer(initial)
  defp valid?(key, _value, allowed), do: key in allowed

  defp refuse(key, value, allowed, verb) do
    known = Enum.map_join([:timeout, :token, :store | allowed], ", ", &inspect/1)
    raise ArgumentError, "Concord.#{verb}: #{inspect([{key, value}])} is no option here; there are #{known}"
  end
end
