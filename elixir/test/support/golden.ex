defmodule Concord.Golden do
  @moduledoc """
  The golden values that all languages read (tests/golden/values).
  """

  @folder Path.expand("../../../tests/golden/values", __DIR__)

  @doc "Lines of a file, each a list of columns."
  def read(file) do
    for line <- Path.join(@folder, file) |> File.read!() |> String.split("\n", trim: true), do: String.split(line, "\t")
  end

  @doc "The cases of the expression language, one a line."
  def expressions do
    lines = Path.join(@folder, "../expressions.json") |> File.read!() |> String.split("\n", trim: true)
    for "{" <> _ = line <- lines, do: line |> String.trim_trailing(",") |> Concord.Json.read!()
  end

  @doc "Name to encoded bytes."
  def vectors do
    for [name, hex | _] <- read("vectors.txt"), into: %{}, do: {name, Base.decode16!(hex, case: :lower)}
  end
end
