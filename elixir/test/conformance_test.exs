# The conformance scripts, run against Elixir.

defmodule Concord.ConformanceTest do
  # Promise: every face answers every step of every script alike. This is the Elixir face.
  use Concord.StoreCase, async: true

  alias Concord.Conformance

  for script <- Conformance.scripts() do
    @script script
    test Path.basename(script) do
      {steps, faults} = Conformance.run(@script, &fresh_store/0)
      assert faults == [], Enum.join(faults, "\n")
      assert steps > 0
    end
  end

  test "there are scripts" do
    assert length(Conformance.scripts()) >= 8
  end
end
