defmodule Concord.StoreCase do
  @moduledoc """
  Stores of their own for tests: each in memory, or in a directory that is gone afterwards.
  """

  use ExUnit.CaseTemplate

  using do
    quote do
      import Concord.StoreCase
    end
  end

  @doc "Starts a fresh store and returns its name."
  def fresh_store(settings \\ [durability: :memory]) do
    name = :"store_#{System.unique_integer([:positive])}"
    {:ok, _} = start_supervised({Concord, [name: name] ++ settings}, id: name)
    name
  end

  @doc "A directory for this test alone."
  def fresh_dir do
    dir = Path.join(System.tmp_dir!(), "concord-test-#{System.pid()}-#{System.unique_integer([:positive])}")
    on_exit(fn -> File.rm_rf!(dir) end)
    dir
  end

  @doc "Asks until the answer is neither false nor nil, for what no event tells from outside; gives the last answer."
  def eventually(question, tries \\ 600) do
    case question.() do
      answer when answer in [nil, false] and tries > 0 ->
        Process.sleep(50)
        eventually(question, tries - 1)

      answer ->
        answer
    end
  end

  @doc "Everything in this process's mailbox."
  def mailbox, do: Process.info(self(), :messages) |> elem(1)

  @doc "A list in a list in a list ..., `depth` deep."
  def nested(depth), do: Enum.reduce(2..depth//1, [], fn _, inner -> [inner] end)
end
