defmodule Concord.Json do
  @moduledoc """
  Reads the JSON of the conformance scripts: one value at the front of a text, and what follows it.

  An object that is just `{"$bytes": "base64"}` is bytes.
  """

  @doc "The value at the front of a text, and the rest."
  def read(" " <> rest), do: read(rest)
  def read("null" <> rest), do: {nil, rest}
  def read("true" <> rest), do: {true, rest}
  def read("false" <> rest), do: {false, rest}
  def read("\"" <> rest), do: string(rest, [])
  def read("[]" <> rest), do: {[], rest}
  def read("[" <> rest), do: array(rest, [])
  def read("{}" <> rest), do: {%{}, rest}
  def read("{" <> rest), do: object(rest, [])
  def read(text), do: number(text)

  @doc "The one value that is all of a text."
  def read!(text) do
    {value, ""} = read(text)
    value
  end

  defp array(text, items) do
    case read(text) do
      {item, "," <> rest} -> array(rest, [item | items])
      {item, "]" <> rest} -> {Enum.reverse([item | items]), rest}
    end
  end

  defp object(" " <> text, entries), do: object(text, entries)

  defp object("\"" <> text, entries) do
    {key, ":" <> rest} = string(text, [])

    case read(rest) do
      {value, "," <> rest} -> object(rest, [{key, value} | entries])
      {value, "}" <> rest} -> {object_of([{key, value} | entries]), rest}
    end
  end

  defp object_of([{"$bytes", base64}]) when is_binary(base64), do: Base.decode64!(base64)
  defp object_of(entries), do: Map.new(entries)

  defp number(text) do
    [token] = Regex.run(~r/\A-?[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?/, text)
    rest = binary_part(text, byte_size(token), byte_size(text) - byte_size(token))

    if token =~ ~r/[.eE]/ do
      {float, ""} = Float.parse(token)
      {float, rest}
    else
      {String.to_integer(token), rest}
    end
  end

  defp string("\"" <> rest, parts), do: {parts |> Enum.reverse() |> IO.iodata_to_binary(), rest}
  defp string("\\u" <> <<hex::binary-4, rest::binary>>, parts), do: unicode(String.to_integer(hex, 16), rest, parts)
  defp string(<<"\\", escaped, rest::binary>>, parts), do: string(rest, [escape(escaped) | parts])
  defp string(<<character::utf8, rest::binary>>, parts), do: string(rest, [<<character::utf8>> | parts])

  defp unicode(high, "\\u" <> <<hex::binary-4, rest::binary>>, parts) when high in 0xD800..0xDBFF do
    low = String.to_integer(hex, 16)
    string(rest, [<<0x10000 + (high - 0xD800) * 0x400 + (low - 0xDC00)::utf8>> | parts])
  end

  defp unicode(character, rest, parts), do: string(rest, [<<character::utf8>> | parts])

  defp escape(?n), do: "\n"
  defp escape(?t), do: "\t"
  defp escape(?r), do: "\r"
  defp escape(?b), do: "\b"
  defp escape(?f), do: "\f"
  defp escape(character), do: <<character>>
end
