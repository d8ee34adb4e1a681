# Standard normals as a pure function of (key, position): SplitMix64 for the bits (Steele, Lea, Flood 2014), the
# ziggurat for the shape (Marsaglia, Tsang 2000). Reasons to have our own: the bits of a whole buffer vectorize, so
# it is faster than `randn!`; every version of Julia gives the same numbers; and a stream is two integers, so
# keying it by (seed, noise level, block) is one line.

const GOLDEN = 0x9e3779b97f4a7c15

"""SplitMix64's output function: a bijection of the 64-bit integers, of which neighbours have nothing in common."""
@inline function scramble(z::UInt64)
    z = (z ⊻ (z >> 30)) * 0xbf58476d1ce4e5b9
    z = (z ⊻ (z >> 27)) * 0x94d049bb133111eb
    z ⊻ (z >> 31)
end

"""An endless row of standard normals; the numbers do not depend on how many are asked for at a time."""
mutable struct NormalStream
    key::UInt64
    position::UInt64
    bits::Vector{UInt64}  # scratch

    """The stream that belongs to these integers, here (seed, noise level, block)."""
    function NormalStream(numbers::Integer...)
        key = foldl((key, number) -> scramble(key + GOLDEN * (number % UInt64 + 1)), numbers, init = UInt64(0))
        new(key, 0, UInt64[])
    end
end

"""The next `count` integers of 64 random bits of `stream`, in its scratch."""
function next_bits!(stream::NormalStream, count::Int)
    count <= length(stream.bits) || resize!(stream.bits, count)
    bits, start = stream.bits, stream.key + GOLDEN * stream.position
    @inbounds @simd for i in 1:count
        bits[i] = scramble(start + GOLDEN * (i % UInt64))
    end
    stream.position += count
    bits
end

"""Fill the first `count` elements of `out` with the next normals of `stream`."""
function normals!(out::Array{Float64}, count::Int, stream::NormalStream)
    count <= length(out) || throw(BoundsError(out, count))
    bits = next_bits!(stream, count)
    @inbounds for i in 1:count
        out[i] = normal(bits[i])
    end
    out
end

"""
Fill each column of the first `count` of `picks`, (batch, columns), with different numbers of 1:`points`, every set
equally likely but for 2^-32 (R. W. Floyd's algorithm, Bentley 1987).
"""
function pick!(picks::Matrix{Int}, count::Int, points::Int, stream::NormalStream)
    batch = size(picks, 1)
    bits = next_bits!(stream, batch * count)
    for column in 1:count, k in 1:batch
        newest = points - batch + k
        example = 1 + Int(((bits[(column-1)*batch+k] >> 32) * (newest % UInt64)) >> 32)
        picks[k, column] = any(i -> picks[i, column] == example, 1:k-1) ? newest : example
    end
    picks
end

# The ziggurat covers the half density exp(−x²/2) by LAYERS layers of equal area: layer i is as wide as EDGES[i],
# and reaches from HEIGHTS[i] up to HEIGHTS[i + 1], the heights of the density at EDGES[i] and EDGES[i + 1]. The
# lowest one has the tail beyond EDGES[2] too, so its EDGES[1] is the width of a rectangle of the same area.
const LAYERS = 1024
const EDGES, HEIGHTS = let right = 4.038849846109504, area = 0.001226324646353088
    edges = [area / exp(-right^2 / 2), right]
    while length(edges) < LAYERS
        push!(edges, sqrt(-2log(area / edges[end] + exp(-edges[end]^2 / 2))))
    end
    push!(edges, 0.0)
    edges, exp.(-edges .^ 2 ./ 2)
end
# A signed integer of 53 bits times SCALE[i] is uniform on layer i; below INSIDE[i] it is surely under the density.
const SCALE = EDGES[1:LAYERS] ./ 2^52
const INSIDE = floor.(Int64, EDGES[2:LAYERS+1] ./ EDGES[1:LAYERS] .* 2^52)

"""A standard normal from 64 random bits: 10 choose the layer, 53 the place in it."""
@inline function normal(bits::UInt64)
    layer, place = Int(bits & 0x3ff) + 1, reinterpret(Int64, bits) >> 11
    @inbounds abs(place) < INSIDE[layer] ? place * SCALE[layer] : edge_normal(bits)
end

@inline uniform(bits::UInt64) = ((bits >> 11) + 0.5) * 2.0^-53

"""The one normal in 500 whose bits fall near the density or in the tail; further bits are derived from `bits`."""
@noinline function edge_normal(bits::UInt64)
    while true
        layer, place = Int(bits & 0x3ff) + 1, reinterpret(Int64, bits) >> 11
        x = place * SCALE[layer]
        abs(place) < INSIDE[layer] && return x
        bits = scramble(bits + GOLDEN)
        layer == 1 && return copysign(tail_normal(bits), x)
        y = HEIGHTS[layer] + uniform(bits) * (HEIGHTS[layer+1] - HEIGHTS[layer])
        y < exp(-x^2 / 2) && return x
        bits = scramble(bits + GOLDEN)
    end
end

"""A normal known to be beyond EDGES[2] (Marsaglia 1964)."""
function tail_normal(bits::UInt64)
    while true
        beyond = -log(uniform(bits)) / EDGES[2]
        bits = scramble(bits + GOLDEN)
        2 * -log(uniform(bits)) > beyond^2 && return EDGES[2] + beyond
        bits = scramble(bits + GOLDEN)
    end
end
