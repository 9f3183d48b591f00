defmodule Concord.Compression do
  @moduledoc """
  How large values are compressed. The store does it by itself, on the way in, and undoes it on the way out.

      config :concord,
        compression: [
          enabled: true,           # compress values above the threshold
          algorithm: :zlib,        # :zlib or :gzip
          threshold_bytes: 1024,   # of the encoded value
          level: 6                 # 0 (none) to 9 (smallest)
        ]

  A value is kept compressed only when that makes it smaller. `compress: true` or `false` on a single write overrides
  threshold and `enabled`.

  The functions here are for finding out what it would do with a value, and for doing the same to values that are kept
  elsewhere.
  """

  alias Concord.{Config, Native}

  # The largest encoded value that configuration may allow.
  @bytes_max 64 * 1024 * 1024

  @typedoc "A compressed value, as `compress/2` makes it."
  @type compressed :: {:compressed, :zlib | :gzip, binary()}

  @doc """
  The settings in force for the application's own store.

      iex> Concord.Compression.config()
      [enabled: true, algorithm: :zlib, threshold_bytes: 1024, level: 6]
  """
  @spec config() :: keyword()
  def config, do: Config.compression(Application.get_env(:concord, :compression, []))

  @doc """
  Whether the store would try to compress this value.

      iex> Concord.Compression.should_compress?("small")
      false
      iex> Concord.Compression.should_compress?(String.duplicate("x", 10_000))
      true
  """
  @spec should_compress?(term()) :: boolean()
  def should_compress?(value) do
    config = config()
    config[:enabled] and byte_size(encode!(value)) > config[:threshold_bytes]
  end

  @doc """
  What compression makes of a value. Sizes are bytes of the encoded value, the ratio is in percent of the original.

      iex> stats = Concord.Compression.stats(String.duplicate("x", 10_000))
      iex> stats.original_size
      10003
      iex> stats.savings_percent > 99
      true
  """
  @spec stats(term()) :: %{
          original_size: non_neg_integer(),
          compressed_size: non_neg_integer(),
          compression_ratio: float(),
          savings_bytes: integer(),
          savings_percent: float()
        }
  def stats(value), do: Native.compression_stats(encode!(value), Config.compression_to_native(config()))

  @doc """
  Compresses a value, whatever its size. Options override `config/0`.

      iex> {:compressed, :zlib, bytes} = Concord.Compression.compress("large data...")
      iex> is_binary(bytes)
      true
  """
  @spec compress(term(), keyword()) :: compressed()
  def compress(value, options \\ []) do
    config = Config.compression(Keyword.merge(config(), options))
    {:compressed, config[:algorithm], deflate(encode!(value), config[:algorithm], config[:level])}
  end

  @doc """
  The value that `compress/2` was given; anything else comes back as it is. Raises `ArgumentError` when the bytes are
  damaged, or become more than the largest value.

      iex> Concord.Compression.decompress(Concord.Compression.compress(%{some: "map"}))
      %{some: "map"}
      iex> Concord.Compression.decompress("plain")
      "plain"
  """
  @spec decompress(compressed() | term()) :: term()
  def decompress({:compressed, algorithm, bytes}) when algorithm in [:zlib, :gzip] and is_binary(bytes) do
    case Native.decode(inflate(bytes, algorithm)) do
      {:ok, value} -> value
      {:error, kind} -> raise ArgumentError, "what was compressed is no value: #{kind}"
    end
  end

  def decompress(value), do: value

  defp encode!(value) do
    case Native.encode(value) do
      {:ok, encoded} -> encoded
      {:error, kind} -> raise ArgumentError, "this is no value that can be stored: #{kind}"
    end
  end

  defp deflate(bytes, algorithm, level) do
    with_zlib(fn zlib ->
      :ok = :zlib.deflateInit(zlib, level, :deflated, window_bits(algorithm), 8, :default)
      deflated = IO.iodata_to_binary(:zlib.deflate(zlib, bytes, :finish))
      :ok = :zlib.deflateEnd(zlib)
      deflated
    end)
  end

  defp inflate(bytes, algorithm) do
    with_zlib(fn zlib ->
      :ok = :zlib.inflateInit(zlib, window_bits(algorithm))
      zlib |> inflate_all(:zlib.safeInflate(zlib, bytes), [], 0) |> IO.iodata_to_binary()
    end)
  rescue
    error in ErlangError -> raise ArgumentError, "this is not compressed: #{inspect(error.original)}"
  end

  defp inflate_all(zlib, {state, output}, done, size) do
    size = size + IO.iodata_length(output)
    if size > @bytes_max, do: raise(ArgumentError, "this becomes more than #{@bytes_max} bytes")

    case state do
      :continue -> inflate_all(zlib, :zlib.safeInflate(zlib, []), [done, output], size)
      :finished -> [done, output]
    end
  end

  defp with_zlib(function) do
    zlib = :zlib.open()

    try do
      function.(zlib)
    after
      :zlib.close(zlib)
    end
  end

  # 15 is the usual window; 16 more asks for gzip's frame.
  defp window_bits(:zlib), do: 15
  defp window_bits(:gzip), do: 31
end
