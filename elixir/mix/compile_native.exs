# The Mix compiler that builds Concord's native library with cargo and puts it into the application's priv directory.

defmodule Mix.Tasks.Compile.ConcordNative do
  @shortdoc "Builds Concord's native library with cargo"

  @moduledoc """
  Builds `bindings/nif` with `cargo build --release --locked` and copies it to `priv/native/`.

  Cargo decides what has to be built again, so this costs a fraction of a second when nothing has changed.

  Environment:

    * `CONCORD_NIF_PATH` - a library that is built already (a file); cargo is not called
    * `CARGO_TARGET_DIR` - where cargo builds; by default `target/` at the root of the repository
    * `CARGO` - the cargo to call
  """

  use Mix.Task.Compiler

  @library "libconcord_nif"
  @package "concord-kv-nif"

  @impl true
  def run(_args) do
    target = Path.join([Mix.Project.app_path(), "priv", "native", @library <> ".so"])

    case System.get_env("CONCORD_NIF_PATH", "") do
      "" -> install(build(), target)
      prebuilt -> install(Path.expand(prebuilt), target)
    end
  end

  @impl true
  def clean do
    File.rm_rf!(Path.join([Mix.Project.app_path(), "priv", "native"]))
  end

  defp build do
    root = Path.expand("../..", __DIR__)

    target_dir =
      case System.get_env("CARGO_TARGET_DIR", "") do
        "" -> Path.join(root, "target")
        dir -> Path.expand(dir)
      end

    cargo = System.find_executable(System.get_env("CARGO", "cargo")) || no_cargo()
    args = ~w(build --release --locked --quiet --package #{@package} --target-dir) ++ [target_dir]

    case System.cmd(cargo, args, cd: root, into: IO.stream(:stdio, :line), stderr_to_stdout: true) do
      {_, 0} -> Path.join([target_dir, "release", @library <> extension()])
      {_, status} -> Mix.raise("cargo could not build Concord's native library (exit status #{status}), see above")
    end
  end

  defp extension, do: if(:os.type() == {:unix, :darwin}, do: ".dylib", else: ".so")

  defp no_cargo do
    Mix.raise("""
    Concord's native library is built with cargo, which is not in PATH.
    Install Rust (https://rustup.rs), or set CONCORD_NIF_PATH to a library that is built already.
    """)
  end

  # Under another name first: a running VM may have the old file mapped, and must not see it change.
  defp install(source, target) do
    unless File.regular?(source), do: Mix.raise("Concord's native library is not at #{source}")

    if same?(source, target) do
      {:noop, []}
    else
      File.mkdir_p!(Path.dirname(target))
      fresh = "#{target}.#{System.pid()}"
      File.cp!(source, fresh)
      File.rename!(fresh, target)
      {:ok, []}
    end
  end

  defp same?(source, target) do
    with {:ok, %{size: size}} <- File.stat(source),
         {:ok, %{size: ^size}} <- File.stat(target) do
      hash(source) == hash(target)
    else
      _ -> false
    end
  end

  defp hash(path), do: :erlang.md5(File.read!(path))
end
