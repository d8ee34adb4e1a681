# Reading and writing float64 arrays in NumPy's format (numpy.lib.format, versions 1.0 to 3.0).
#
# NumPy's usual order is the mirror of Julia's: an array of shape (a, b, c) there is an array of size (c, b, a) here,
# the same bytes with the axes named in reverse. All machines that Julia runs on are little-endian, as '<f8' asks.

const NPY_MAGIC = b"\x93NUMPY"

"""Write the header of a C-ordered float64 array of the given NumPy `shape` to `io`; the values follow it."""
function write_npy_header(io::IO, shape)
    dims = join(shape, ", ") * (length(shape) == 1 ? "," : "")
    dict = "{'descr': '<f8', 'fortran_order': False, 'shape': ($dims), }"
    padding = 63 - (length(NPY_MAGIC) + 4 + length(dict)) % 64  # the values start at a multiple of 64
    header = dict * " "^padding * "\n"
    write(io, NPY_MAGIC, 0x01, 0x00, UInt16(length(header)), header)
end

"""Write `array`, of size (c, b, a), to `io` as NumPy's float64 array of shape (a, b, c)."""
function write_npy(io::IO, array::Array{Float64})
    write_npy_header(io, reverse(size(array)))
    write(io, array)
end

"""
    read_npy(path) -> Array{Float64}

Read NumPy's float64 array of shape (a, b, c), in C or Fortran order, as an array of size (c, b, a). `ArgumentError`,
one line, for anything else.
"""
function read_npy(path::AbstractString)
    fail(what) = throw(ArgumentError("$path: $what"))
    open(path) do io
        filesize(io) >= 12 && read(io, length(NPY_MAGIC)) == NPY_MAGIC || fail("not a .npy file")
        version, _ = read(io, UInt8), read(io, UInt8)
        header = String(read(io, version == 1 ? read(io, UInt16) : read(io, UInt32)))
        dict = match(r"^\{'descr': '(.+)', 'fortran_order': (True|False), 'shape': \(([\d, ]*)\), \}\s*$", header)
        dict === nothing && fail("unreadable .npy header $(repr(strip(header)))")
        dict[1] == "<f8" || fail("dtype is $(dict[1]), expected <f8 (float64)")
        shape = Tuple(parse.(Int, split(dict[3], r"[, ]+", keepempty = false)))
        found, expected = filesize(io) - position(io), 8prod(shape)
        found == expected || fail("$found bytes of values, expected $expected for shape $shape")
        dict[2] == "False" && return read!(io, Array{Float64}(undef, reverse(shape)))
        permutedims(read!(io, Array{Float64}(undef, shape)), length(shape):-1:1)
    end
end
