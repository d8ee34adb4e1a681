# Activation functions φ, each with its derivative and its parity.

"""
An activation function. `f(u)` returns `(φ(u), φ'(u))`, one call for both since they share most of their work.
`P` is `:odd` or `:even`: a neuron whose φ has a parity depends on |w1| in a way that `tables.jl` can tabulate.
"""
struct Activation{P,F}
    f::F
end

const ACTIVATIONS = Dict{String,Activation}()

"""
    add_activation!(f, name, parity)

Make the smooth activation φ known as `activation = "name"` in a `spec.toml`; `f(u)` returns `(φ(u), φ'(u))`,
`parity` is `:odd` or `:even`, and φ(0) must be 0 (the origin would be no invariant set otherwise). Three lines:

    add_activation!("sine", :odd) do u
        sin(u), cos(u)
    end

Near 0, φ should be accurate relative to itself: 2sin(u/2)², not 1 − cos(u). `ArgumentError` where parity, φ(0), or
the derivative (against a finite difference) is wrong.
"""
function add_activation!(f, name::AbstractString, parity::Symbol)
    fail(what) = throw(ArgumentError("activation $name: $what"))
    parity in (:odd, :even) || fail("parity $(repr(parity)), expected :odd or :even")
    first(f(0.0)) == 0 || fail("φ(0) = $(first(f(0.0))), expected 0")
    sign = parity === :odd ? -1 : 1
    for u in (0.3, 0.7, 1.9)
        φ, slope = f(u)
        mirrored, difference = first(f(-u)), (first(f(u + 1e-5)) - first(f(u - 1e-5))) / 2e-5
        abs(mirrored - sign * φ) <= 1e-12 * abs(φ) || fail("not $parity: φ($u) = $φ, φ(-$u) = $mirrored")
        abs(slope - difference) <= 1e-6 * (1 + abs(slope)) || fail("φ'($u) = $slope, by finite difference $difference")
    end
    ACTIVATIONS[name] = Activation{parity,typeof(f)}(f)
end

"""
    tanh_and_slope(u) -> (tanh(u), 1 − tanh(u)²)

The first to 3e-16 relative, the second to 1e-15 absolute. Unlike `tanh` it has no branches, so that a loop over data
points vectorizes, five times as fast. With e = expm1(−2|u|), which is relatively accurate at 0, tanh|u| = −e / (2 + e).
"""
@inline function tanh_and_slope(u::Float64)
    a = max(-2abs(u), -50.0)  # tanh is 1 to the last bit from 20 on
    # exp(a) = 2^n exp(r), |r| ≤ log(2)/2. Adding 1.5·2^52 rounds to an integer and leaves it in the lowest bits.
    shifted = muladd(a, 1.4426950408889634, 6.755399441055744e15)
    n = shifted - 6.755399441055744e15
    r = muladd(n, -1.9082149292705877e-10, muladd(n, -0.6931471803691238, a))
    expm1_r = r * @evalpoly(r, 1.0, 1/2, 1/6, 1/24, 1/120, 1/720, 1/5040, 1/40320, 1/362880, 1/3628800, 1/39916800,
                            1/479001600, 1/6227020800)
    power = reinterpret(Float64, (reinterpret(Int64, shifted) + 1023) << 52)
    e = muladd(power, expm1_r, power - 1.0)
    t = copysign(-e / (2.0 + e), u)
    t, muladd(-t, t, 1.0)
end

add_activation!(tanh_and_slope, "tanh", :odd)
