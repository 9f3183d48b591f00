defmodule Concord.Application do
  @moduledoc false
  # Starts one store by itself, unless `config :concord, autostart: false`.

  use Application

  @impl true
  def start(_type, _args) do
    children = if Application.get_env(:concord, :autostart, true), do: [Concord.Store.child_spec([])], else: []
    Supervisor.start_link(children, strategy: :one_for_one, name: Concord.Supervisor)
  end
end
