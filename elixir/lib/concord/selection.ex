defmodule Concord.Selection do
  @moduledoc false
  # What the options of a query say: the selector as the native library takes it, and the filter that runs here.
  #
  # With a filter, offset and limit count what it accepts, so that they are not the store's to apply.

  alias Concord.Options

  @parts [:prefix, :suffix, :contains, :range, :pattern, :where, :filter, :offset, :limit]

  # Letters of Elixir's regex flags and what they are called; ungreedy changes nothing about whether there is a match.
  @flags %{"i" => "i", "m" => "m", "s" => "s", "x" => "x", "u" => "u", "U" => "", "r" => ""}
  @names %{caseless: "i", multiline: "m", dotall: "s", extended: "x", unicode: "u", ucp: "", ungreedy: ""}

  @number_max 0xFFFF_FFFF_FFFF_FFFF

  defstruct [:native, :filter, :options, offset: 0, limit: nil]

  def of(options, allowed, verb) do
    Options.check(options, [:consistency | @parts] ++ allowed, verb)
    for {key, value} <- options, key in @parts, not well_typed?(key, value), do: misused(key, value, verb)
    [offset, limit] = [options[:offset] || 0, options[:limit]]
    filter = options[:filter]
    counted_here = filter != nil

    %__MODULE__{
      native: native(options, if(counted_here, do: {0, nil}, else: {offset, limit}), {offset, limit}),
      filter: filter,
      offset: if(counted_here, do: offset, else: 0),
      limit: if(counted_here, do: limit),
      options: Keyword.take(options, [:store, :token, :timeout, :consistency])
    }
  end

  defp well_typed?(_key, nil), do: true
  defp well_typed?(:range, {from, to}), do: is_binary(from) and is_binary(to)
  defp well_typed?(:range, _), do: false
  defp well_typed?(:pattern, pattern), do: is_struct(pattern, Regex) or is_binary(pattern)
  defp well_typed?(:filter, filter), do: is_function(filter, 1)
  defp well_typed?(key, number) when key in [:offset, :limit], do: is_integer(number)
  defp well_typed?(_key, text), do: is_binary(text)

  defp misused(key, value, verb) do
    wanted =
      case key do
        :range -> "a tuple of two binaries, {from, to}"
        :pattern -> "a regex or its text"
        :filter -> "a function of one argument, {key, value}"
        number when number in [:offset, :limit] -> "an integer"
        _ -> "a binary"
      end

    raise ArgumentError, "Concord.#{verb}: #{inspect([{key, value}])} should be #{wanted}"
  end

  defp native(options, {offset, limit}, given) do
    with true <- Enum.all?(Tuple.to_list(given), &(&1 == nil or &1 in 0..@number_max)),
         {:ok, pattern} <- pattern(options[:pattern]) do
      [prefix, suffix, contains] = Enum.map([:prefix, :suffix, :contains], &options[&1])
      {prefix, suffix, contains, pattern, options[:range], options[:where], offset, limit}
    else
      # Told by the native library, after the token.
      _ -> {:refused, :invalid_condition}
    end
  end

  defp pattern(nil), do: {:ok, nil}
  defp pattern(text) when is_binary(text), do: {:ok, {text, ""}}

  defp pattern(%Regex{} = regex) do
    flags =
      case Regex.opts(regex) do
        letters when is_binary(letters) -> for <<letter::binary-1 <- letters>>, do: @flags[letter]
        names when is_list(names) -> Enum.map(names, &@names[&1])
      end

    if Enum.all?(flags), do: {:ok, {Regex.source(regex), Enum.join(flags)}}, else: :error
  end
end
