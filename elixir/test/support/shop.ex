defmodule Concord.Shop do
  @moduledoc """
  A new Mix application that depends on this package and has no configuration, as whoever tries Concord makes it.
  """

  @package Path.expand("../..", __DIR__)

  @doc "Makes the application below `dir` and answers its folder."
  def new(dir) do
    File.mkdir_p!(dir)
    {_, 0} = mix(dir, ~w(new shop))
    app = Path.join(dir, "shop")
    File.write!(Path.join(app, "mix.exs"), mixfile())
    app
  end

  @doc "Runs mix there."
  def mix(dir, arguments, more \\ []) do
    System.cmd("mix", arguments, cd: dir, env: environment() ++ more, stderr_to_stdout: true)
  end

  @doc "What the application's programs are started with: the library that these tests use already, unless the environment says otherwise."
  def environment do
    library = Path.join(:code.priv_dir(:concord), "native/libconcord_nif.so")
    [{"MIX_ENV", "dev"}, {"CONCORD_NIF_PATH", System.get_env("CONCORD_NIF_PATH") || library}]
  end

  defp mixfile do
    """
    defmodule Shop.MixProject do
      use Mix.Project

      def project do
        [app: :shop, version: "0.1.0", deps: [{:concord, path: #{inspect(@package)}}]]
      end

      def application, do: [extra_applications: [:logger]]
    end
    """
  end
end
